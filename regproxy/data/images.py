"""Decode the images of a data set, and a user's own images."""

import cv2
import numpy as np

from regproxy.errors import DataError


def decode_image(encoded: bytes, *, upright: bool = False) -> np.ndarray:
    """Decode a JPEG or PNG of any kind to (H, W, 3) uint8 RGB.

    Args:
        upright: rotate the image as its EXIF orientation says. Without it pixels match those of the label.

    Raises:
        DataError: the image cannot be decoded.
    """
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError("the image cannot be decoded: expected a JPEG or PNG. Replace it.")
    return image
