"""Read the pixels of a label file: class ids, or the colours that stand for classes."""

from dataclasses import dataclass

import cv2
import numpy as np

from regproxy.errors import DataError
from regproxy.raw.decoding import decode_with_messages, decoder_messages
from regproxy.raw.encoded import check_single, decode_picture, kind_of, open_picture, png_depth, tiff_depth

_KINDS = ("PNG", "TIFF", "BMP")
_MODES = ("1", "L", "P", "LA", "RGB", "RGBA", "I", "F")
_STRETCH = {2: 85, 4: 17}  # Pillow stretches grey values of 2 and 4 bits to 0..255


@dataclass(frozen=True)
class LabelPixels:
    """Pixels of a label as stored: (H, W) integers, or (H, W, 3) RGB. An image with a palette has indices."""

    values: np.ndarray
    mode: str  # Pillow's name of what the file holds, such as "RGB"
    palette: np.ndarray | None = None  # (N, 3) uint8 RGB

    @property
    def is_colour(self) -> bool:
        return self.values.ndim == 3


def read_pixels(encoded: bytes) -> LabelPixels:
    """Decode a label of 1 to 32 bits. Alpha is left out if it is the same everywhere.

    Raises:
        DataError: the label is not a PNG, TIFF or BMP, is damaged, too large or animated, has several pages,
            an alpha channel that varies, or values that are no integers.
    """
    kind = kind_of(encoded)
    if kind == "JPEG":
        raise DataError("it is a JPEG, which changes values near edges. Save labels as PNG.")
    if kind not in _KINDS:
        raise DataError("it is not a PNG image, nor a TIFF or BMP. Save it as a single-channel PNG.")
    check_single(encoded, kind)
    depth, colour_type = png_depth(encoded) if kind == "PNG" else (0, 0)
    if depth == 16 and colour_type != 0:  # of these, Pillow reads the upper 8 bits only
        return _with_opencv(encoded)
    # Not OpenCV in general, which returns a palette's colours instead of its indices.
    picture = open_picture(encoded, kind)
    if kind == "TIFF":
        depth = tiff_depth(encoded)
        if depth > 8 and picture.mode in ("RGB", "RGBA"):
            return _with_opencv(encoded)
    if picture.mode not in _MODES and not picture.mode.startswith("I;16"):
        raise DataError(f"its pixels are {picture.mode}: expected class ids or RGB. Save it as a PNG.")
    with decoder_messages():
        decode_picture(picture)
    values, palette = np.asarray(picture), None
    if picture.mode == "P":
        palette = np.array(picture.getpalette("RGB"), np.uint8).reshape(-1, 3)
    if picture.mode == "L" and colour_type == 0 and depth in _STRETCH:
        values = values // _STRETCH[depth]
    return LabelPixels(_without_alpha(values), picture.mode, palette)


def _with_opencv(encoded: bytes) -> LabelPixels:
    values, _ = decode_with_messages(encoded, cv2.IMREAD_UNCHANGED)
    if values is None:
        raise DataError("it cannot be decoded. Replace it.")
    if values.ndim == 3 and values.shape[2] >= 3:
        values = values[..., [2, 1, 0, *range(3, values.shape[2])]]
    return LabelPixels(_without_alpha(values), f"{values.dtype}, {values.shape[2]} channels")


def _without_alpha(values: np.ndarray) -> np.ndarray:
    """Return (H, W) or (H, W, 3) integers; one channel if the three are equal."""
    if values.dtype.kind not in "bui":
        raise DataError(
            f"it has values of type {values.dtype}: expected integers. Save it as a single-channel PNG."
        )
    if values.ndim == 3 and values.shape[2] in (2, 4):
        alpha = values[..., -1]
        if alpha.min() != alpha.max():
            raise DataError("its transparency varies between pixels. Save it without an alpha channel.")
        values = values[..., :-1]
    return values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
