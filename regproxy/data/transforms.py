"""Augment training images as the paper's authors do, in their order, on uint8 pixels.

The steps are: resize by a random ratio, random crop, flip, photometric distortion. The loader then pads, and
the device normalises whole batches. Images are (H, W, 3) uint8 RGB, labels (H, W) uint8 train ids.
"""

import cv2
import numpy as np

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.recipe import Recipe
from regproxy.data.geometry import rescaled_size

_CROP_RETRIES = 10  # draws of another crop while one class fills too much
_MARGIN = 2  # source pixels beyond a window's end that bilinear interpolation of its last pixels needs


def augment(
    image: np.ndarray, label: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return one training view (image, label), of the size `recipe.crop` or smaller if the image is smaller.

    Args:
        image: (H, W, 3) uint8 RGB. Only the part that the crop needs is rescaled.
        label: (H, W) uint8 train ids, 255 void. It decides where the crop is.
        recipe: scale, range of ratios, crop and distortions.
        generator: source of all random numbers: equal generators give equal views.
    """
    ratio = generator.uniform(*recipe.ratio_range)
    long_side, short_side = (int(side * ratio) for side in recipe.scale)
    size = rescaled_size(label.shape, (long_side, short_side))
    if size != label.shape:
        label = cv2.resize(label, size[::-1], interpolation=cv2.INTER_NEAREST)
    window = random_window(label, recipe, generator)
    image, label = rescaled_window(image, size, window), label[window]
    if generator.random() < recipe.flip_probability:
        image, label = cv2.flip(image, 1), cv2.flip(label, 1)
    if recipe.photometric:
        image = distort_photometry(image, generator)
    return image, label


def random_window(label: np.ndarray, recipe: Recipe, generator: np.random.Generator) -> tuple[slice, slice]:
    """Draw a crop; retry up to ten times while one class fills too much of its pixels that are not void."""
    height, width = (min(side, size) for side, size in zip(recipe.crop, label.shape, strict=True))
    for _ in range(_CROP_RETRIES + 1):
        top = int(generator.integers(label.shape[0] - height + 1))
        left = int(generator.integers(label.shape[1] - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        if recipe.max_class_share == 1 or largest_class_share(label[window]) < recipe.max_class_share:
            break
    return window


def rescaled_window(image: np.ndarray, size: tuple[int, int], window: tuple[slice, slice]) -> np.ndarray:
    """Return a window of an (H, W, 3) image rescaled bilinearly to `size`, without rescaling the whole image.

    It rescales only the image's part above and left of the window's end, by the factors of the whole image.
    The result is bit-equal to rescaling first and cutting the window out afterwards.

    Args:
        size: (H, W) of the whole rescaled image.
        window: rows and columns in the rescaled image.
    """
    if size == image.shape[:2]:
        return image[window]
    factors = [new / old for new, old in zip(size, image.shape[:2], strict=True)]
    ends = [
        min(int(np.ceil(span.stop / factor)) + _MARGIN, side)
        for span, factor, side in zip(window, factors, image.shape[:2], strict=True)
    ]
    needed = image[: ends[0], : ends[1]]
    return cv2.resize(needed, None, fx=factors[1], fy=factors[0], interpolation=cv2.INTER_LINEAR)[window]


def largest_class_share(label: np.ndarray) -> float:
    """Return the share of the most frequent class among the pixels that are not void; 1.0 if all are void."""
    counts = cv2.calcHist([label], [0], None, [256], [0, 256])[:IGNORE_LABEL]
    valid = counts.sum()
    return float(counts.max() / valid) if valid else 1.0


def distort_photometry(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Change brightness, contrast, saturation and hue, each with probability 0.5.

    Contrast changes before or after saturation and hue, with probability 0.5 each. As in the authors' code,
    each step rounds to uint8, and hue moves by steps of two degrees (OpenCV's scale 0..179).
    """
    if generator.integers(2):
        image = cv2.LUT(image, _linear_table(shift=generator.uniform(-32, 32)))
    contrast_first = generator.integers(2)
    if contrast_first and generator.integers(2):
        image = cv2.LUT(image, _linear_table(scale=generator.uniform(0.5, 1.5)))
    if generator.integers(2):
        image = _map_hsv(image, 1, _linear_table(scale=generator.uniform(0.5, 1.5)))
    if generator.integers(2):
        hues = (np.arange(256) + generator.integers(-18, 18)) % 180
        image = _map_hsv(image, 0, hues.astype(np.uint8))
    if not contrast_first and generator.integers(2):
        image = cv2.LUT(image, _linear_table(scale=generator.uniform(0.5, 1.5)))
    return image


def _linear_table(*, scale: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Return clip(value * scale + shift, 0, 255), truncated to uint8, for each of the 256 values."""
    table = np.arange(256, dtype=np.float32) * np.float32(scale) + np.float32(shift)
    return np.clip(table, 0, 255).astype(np.uint8)


def _map_hsv(image: np.ndarray, channel: int, table: np.ndarray) -> np.ndarray:
    """Map one channel of the image in HSV by a table of 256 values."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    hsv[..., channel] = cv2.LUT(hsv[..., channel], table)
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)


def pad(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Pad to `size` (H, W) at the right and bottom: the image with 0, the label with 255 (void)."""
    height, width = label.shape
    if (height, width) == size:
        return image, label
    padded_image = np.zeros((*size, 3), np.uint8)
    padded_label = np.full(size, IGNORE_LABEL, np.uint8)
    padded_image[:height, :width], padded_label[:height, :width] = image, label
    return padded_image, padded_label
