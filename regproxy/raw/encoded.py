"""What the first bytes of an image file say, without decoding it: kind, depth, pages, EXIF orientation."""

import io
from collections.abc import Iterator

from PIL import BmpImagePlugin, Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin

from regproxy.errors import DataError

MAX_PIXELS = 2**30  # of an image; decoding a label of this size needs about 5 GB of memory
_READERS = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
}
_DAMAGED = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError)
_EXIF_SEARCH = 2**16  # bytes at the start, and at the end, of a file in which EXIF data are looked for
_REDUCED_TAG, _DEPTH_TAG, _ORIENTATION_TAG = 254, 258, 274  # bit 0 of the first: a copy of another page
_SHORT = 3  # TIFF's type of 16-bit integers
_MAX_TAGS = 4096  # of a page; more are damage


def kind_of(encoded: bytes) -> str | None:
    """Return "JPEG", "PNG", "BMP", "WebP" or "TIFF" from the first bytes of a file; None for other files."""
    if encoded[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if encoded[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    if encoded[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "TIFF"
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return "WebP"
    return "BMP" if encoded[:2] == b"BM" else None


def png_depth(encoded: bytes) -> tuple[int, int]:
    """Return the bit depth and the colour type of a PNG: 0 grey, 2 RGB, 3 palette, 4 and 6 with alpha."""
    return (encoded[24], encoded[25]) if len(encoded) > 25 else (0, 0)


def tiff_depth(encoded: bytes) -> int:
    """Return the bits of a channel of the first page of a TIFF."""
    return next(_directories(encoded), {}).get(_DEPTH_TAG, 1)


def open_picture(encoded: bytes, kind: str) -> Image.Image:
    """Return Pillow's picture of a file of a kind, not yet decoded.

    It is opened by the kind's own class: `Image.open` refuses more than 179 million pixels.

    Raises:
        DataError: the file is damaged, or has more than MAX_PIXELS.
    """
    try:
        picture = _READERS[kind](io.BytesIO(encoded))
    except _DAMAGED as error:
        raise DataError(f"its head cannot be read ({error}). Replace it.") from None
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(
            f"it has {picture.width:,} x {picture.height:,} pixels: expected at most {MAX_PIXELS:,}. "
            "Cut the image and its label into tiles."
        )
    return picture


def decode_picture(picture: Image.Image) -> Image.Image:
    """Decode a picture of `open_picture` and return it; raise DataError if its data are damaged."""
    try:
        picture.load()
    except _DAMAGED as error:
        raise DataError(f"its data break off or are damaged ({error}). Replace it.") from None
    return picture


def check_single(encoded: bytes, kind: str) -> None:
    """Raise DataError if a file is animated or has several pages; smaller copies of a page do not count."""
    several = False
    if kind == "PNG":
        several = encoded.find(b"acTL", 0, encoded.find(b"IDAT")) > 0
    elif kind == "WebP":
        several = encoded[12:16] == b"VP8X" and bool(encoded[20] & 2)
    elif kind == "TIFF":
        several = sum(not tags.get(_REDUCED_TAG, 0) & 1 for tags in _directories(encoded)) > 1
    if several:
        raise DataError(
            "it is animated or has several pages. Save the one that you need as a file of its own."
        )


def exif_orientation(encoded: bytes, kind: str) -> int:
    """Return the EXIF orientation of an image, 1..8; 1 if it has none or it is invalid.

    1 is for a TIFF too, whose orientation is part of the format, so that decoders apply it themselves.
    """
    marker = {"JPEG": b"Exif\0\0", "PNG": b"eXIf", "WebP": b"EXIF"}.get(kind)
    start = encoded.find(marker, 0, _EXIF_SEARCH) if marker else -1
    if start < 0 and kind in ("PNG", "WebP"):  # it may follow the pixels
        start = encoded.find(marker, max(0, len(encoded) - _EXIF_SEARCH))
    if start < 0:
        return 1
    start += len(marker) + (4 if kind == "WebP" else 0)  # WebP: the size of the chunk
    start += 6 if encoded[start : start + 6] == b"Exif\0\0" else 0
    orientation = next(_directories(encoded, start), {}).get(_ORIENTATION_TAG, 1)
    return orientation if 1 <= orientation <= 8 else 1


def _directories(encoded: bytes, start: int = 0) -> Iterator[dict[int, int]]:
    """Yield the tags of each page of a TIFF or BigTIFF that begins at `start`, which EXIF data are too.

    The value of a tag is its first integer. Damaged data end the pages.
    """
    order = {b"II": "little", b"MM": "big"}.get(encoded[start : start + 2])
    if order is None:
        return

    def number(place: int, size: int) -> int:
        return int.from_bytes(encoded[place : place + size], order)

    version = number(start + 2, 2)
    if version not in (42, 43):
        return
    count_size, entry_size, offset_size = (2, 12, 4) if version == 42 else (8, 20, 8)
    place, seen = number(start + (4 if version == 42 else 8), offset_size), set()
    while place and place not in seen and start + place < len(encoded):
        seen.add(place)
        first = start + place + count_size
        end = first + entry_size * min(number(start + place, count_size), _MAX_TAGS)
        tags = {}
        for entry in range(first, end, entry_size):
            value, size = entry + entry_size - offset_size, 2 if number(entry + 2, 2) == _SHORT else 4
            if size * number(entry + 4, offset_size) > offset_size:  # the values lie elsewhere
                value = start + number(value, offset_size)
            tags[number(entry, 2)] = number(value, size)
        yield tags
        place = number(end, offset_size)
