"""Decode the images of a data set, and a user's own images."""

import re
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from regproxy.errors import DataError
from regproxy.raw.decoding import decode_with_messages, decoder_messages
from regproxy.raw.encoded import (
    check_single,
    decode_picture,
    exif_orientation,
    kind_of,
    open_picture,
    png_depth,
    tiff_depth,
)

_COLOUR = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
_TIFF_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")  # Pillow converts them to RGB
_ROWS = 256  # rows that are scaled at once
_EXTRANEOUS = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker 0xd9")
_HARMLESS_BYTES = 16  # some cameras write a few bytes too many before the end of a JPEG


@dataclass(frozen=True)
class RawImage:
    """An image of a data set: (H, W, 3) uint8 RGB pixels as stored, and the bytes that a shard keeps."""

    pixels: np.ndarray
    encoded: bytes
    orientation: int = 1  # of its EXIF data, 1..8


def decode_image(
    encoded: bytes, *, upright: bool = False, image_range: tuple[float, float] | None = None
) -> np.ndarray:
    """Decode and check a JPEG, PNG, BMP, WebP or TIFF of any kind: (H, W, 3) uint8 RGB.

    Args:
        upright: turn the image as its EXIF orientation says. Without it pixels match those of the label.
        image_range: as in `read_image`.

    Raises:
        DataError: as in `read_image`.
    """
    pixels, kind, _ = _decode(encoded, image_range)
    return np.ascontiguousarray(_turn(pixels, exif_orientation(encoded, kind))) if upright else pixels


def read_image(encoded: bytes, *, image_range: tuple[float, float] | None = None) -> RawImage:
    """Decode and check an image of a data set.

    A JPEG and an 8-bit PNG are kept as they are. Other kinds are kept as a PNG of their pixels.

    Args:
        image_range: the values of a 16-bit or float image that become 0 and 255. Values in between are scaled
            linearly and rounded, halves up; others are clipped. 8-bit images are not scaled.

    Raises:
        DataError: the image is of another kind, damaged, too large, animated or of several pages, or has more
            than 8 bits and there is no `image_range`.
    """
    pixels, kind, deep = _decode(encoded, image_range)
    stored = encode_png(pixels) if deep or kind in ("BMP", "WebP") else encoded
    return RawImage(pixels, stored, exif_orientation(encoded, kind))


def _decode(encoded: bytes, image_range: tuple[float, float] | None) -> tuple[np.ndarray, str, bool]:
    """Return an image's pixels as stored, its kind, and whether it can have more than 8 bits."""
    kind = kind_of(encoded)
    if kind is None:
        raise DataError("the image cannot be decoded: expected a JPEG, PNG, BMP, WebP or TIFF. Replace it.")
    try:
        check_single(encoded, kind)
    except DataError as error:
        raise DataError(f"the image is invalid: {error}") from None
    deep = kind == "TIFF" or (kind == "PNG" and png_depth(encoded)[0] == 16)
    pixels = _shallow_tiff(encoded) if kind == "TIFF" else None
    if pixels is None:
        pixels, messages = decode_with_messages(encoded, cv2.IMREAD_UNCHANGED if deep else _COLOUR)
        if pixels is None:
            raise DataError(f"the image cannot be decoded: {_reason(encoded, kind)}")
        for message in messages:
            if _is_damage(message):
                raise DataError(
                    f"the image is damaged ({message.partition(': ')[2] or message}). Replace it."
                )
        if deep:
            pixels = _to_rgb(pixels, image_range)
    return pixels, kind, deep


def match_label(image: RawImage, size: tuple[int, int], exif: Literal["ignore", "apply"] | None) -> RawImage:
    """Return the image as its label shows it: turned as its EXIF orientation says, or as stored.

    Args:
        size: (H, W) of the label.
        exif: whether to turn images; None: the label's size decides.

    Raises:
        DataError: the image has an orientation, and the label's size fits both ways.
    """
    if image.orientation == 1 or exif == "ignore":
        return image
    stored, turned = image.pixels.shape[:2], _turn(image.pixels, image.orientation)
    if exif is None:
        if stored == tuple(size) == turned.shape[:2]:
            raise DataError(
                f"the image has the EXIF orientation {image.orientation}, and its label's size fits it both "
                "turned and as stored. Set exif: apply if labels show photos upright, as viewers do, or "
                "exif: ignore if they match the stored pixels."
            )
        if turned.shape[:2] != tuple(size):
            return image
    turned = np.ascontiguousarray(turned)
    return replace(image, pixels=turned, encoded=encode_png(turned), orientation=1)


def encode_png(pixels: np.ndarray) -> bytes:
    """Return (H, W, 3) uint8 RGB pixels as a PNG file."""
    return cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def _shallow_tiff(encoded: bytes) -> np.ndarray | None:
    """Return the pixels of a TIFF of at most 8 bits, (H, W, 3) uint8 RGB; None for any other TIFF.

    Pillow drops alpha as OpenCV does for a PNG. OpenCV would multiply the colours of a TIFF by it.
    """
    if tiff_depth(encoded) > 8:
        return None
    try:
        picture = open_picture(encoded, "TIFF")
        if picture.mode not in _TIFF_MODES:
            raise DataError(f"its pixels are {picture.mode}. Save it as an 8-bit PNG.")
        with decoder_messages():
            return np.asarray(decode_picture(picture).convert("RGB"))
    except DataError as error:
        raise DataError(f"the image cannot be decoded: {error}") from None


def _is_damage(message: str) -> bool:
    extraneous = _EXTRANEOUS.search(message)
    if extraneous:
        return int(extraneous[1]) > _HARMLESS_BYTES
    return any(text in message for text in ("Corrupt JPEG", "Premature end", "rror at ", "TIFF_Error"))


def _reason(encoded: bytes, kind: str) -> str:
    """Return why OpenCV could not decode an image, as far as its head tells."""
    try:
        picture = open_picture(encoded, kind)
    except DataError as error:
        return str(error)
    return f"this {kind} ({picture.mode}) breaks off, is damaged or of a rare kind. Save it as an 8-bit PNG."


def _to_rgb(pixels: np.ndarray, image_range: tuple[float, float] | None) -> np.ndarray:
    """Return (H, W) or (H, W, 1..4) pixels, BGR and of any type, as (H, W, 3) uint8 RGB."""
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    channels = pixels.shape[2]
    if channels > 4:
        raise DataError(f"the image has {channels} channels: expected 1, 3 or 4. Save three of them as RGB.")
    pixels = pixels[..., [0, 0, 0] if channels < 3 else [2, 1, 0]]
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    low, high = pixels.min(), pixels.max()
    if not np.isfinite(low) or not np.isfinite(high):
        raise DataError("the image has values that are no numbers (NaN or infinite). Replace them.")
    if image_range is None:
        raise DataError(
            f"the image has {pixels.dtype} values {low:g}..{high:g}, not 8 bits. Set image_range: "
            "[low, high] in the profile, or --image-range LOW HIGH: the values that become black and white."
        )
    start, width = image_range[0], image_range[1] - image_range[0]
    scaled = np.empty(pixels.shape, np.uint8)
    for row in range(0, len(pixels), _ROWS):
        values = (pixels[row : row + _ROWS].astype(np.float64) - start) * 255 / width
        scaled[row : row + _ROWS] = np.floor(np.clip(values, 0, 255) + 0.5)
    return scaled


def _turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return pixels turned upright, as viewers show an image with this EXIF orientation."""
    if orientation >= 5:  # rows and columns change places
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return pixels[::rows, ::columns]
