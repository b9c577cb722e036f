"""What a trained network says about one image: the class of every pixel, its probability, the regions.

X Y are the image's own size, K the number of classes.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from regproxy.data.images import decode_image
from regproxy.errors import DataError
from regproxy.eval.image_regions import ImageRegions

ImageSource = str | os.PathLike | Image.Image | np.ndarray


@dataclass(frozen=True, eq=False)
class Prediction:
    """The prediction of one image.

    Attributes:
        image: uint8 (X, Y, 3) RGB, upright.
        labels: the class id of every pixel, (X, Y), uint8, or int16 for more than 256 classes.
        confidence: the probability of that class, float32 (X, Y) in 0..1.
        classes: the names of the K classes.
        palette: the colours of the classes, uint8 (K, 3) RGB.
    """

    image: np.ndarray
    labels: np.ndarray
    confidence: np.ndarray
    classes: tuple[str, ...]
    palette: np.ndarray
    _find_regions: Callable[[np.ndarray], ImageRegions]

    @cached_property
    def regions(self) -> ImageRegions:
        """The regions of the image's tokens, computed on first use with another pass of the network.

        Raises:
            ConfigError: the network has no regions.
        """
        return self._find_regions(self.image)

    def overlay(self, strength: float = 0.5) -> Image.Image:
        """Return the image, blended with the colours of the classes; strength 1 shows the colours alone."""
        blend = (1 - strength) * self.image + strength * self.palette[self.labels]
        return Image.fromarray(np.rint(blend).astype(np.uint8))


def read_image(source: ImageSource) -> np.ndarray:
    """Return an image as uint8 RGB (X, Y, 3), upright as its EXIF orientation says.

    Raises:
        DataError: a file is missing or cannot be decoded, or an array has another shape or type.
    """
    if isinstance(source, Image.Image):
        if source.mode[0] in "IF":  # Pillow would clip their values at 255
            raise DataError(
                f"the image is invalid: expected 8 bits a channel; got Pillow's mode {source.mode}. Scale "
                f"its values to 0..255 and convert it to RGB."
            )
        source = np.asarray(ImageOps.exif_transpose(source).convert("RGB"))
    if isinstance(source, np.ndarray):
        grey = source.ndim == 2
        if source.dtype != np.uint8 or not source.size or not (grey or source.shape[2:] == (3,)):
            raise DataError(
                f"the image is invalid: expected pixels (X, Y, 3) or (X, Y) of uint8; "
                f"got {source.shape} of {source.dtype}. Convert it to 8-bit RGB."
            )
        if grey:
            source = np.repeat(source[:, :, None], 3, axis=2)
        return np.require(source, requirements=("C", "W"))  # torch needs memory that it may write
    path = Path(source)
    if not path.is_file():
        fault = "is not a file" if path.exists() else "is missing"
        raise DataError(f"{path} {fault}. Give the path of an image.")
    try:
        return decode_image(path.read_bytes(), upright=True)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
