"""The recipe's augmentation, in the authors' order, on uint8 pixels (PAPER recipe: training pipeline).

Resize by a random ratio, random crop, flip, photometric distortion; padding is left to `pad`. Normalising
is done on the device, after the batch is stacked. Images are (H, W, 3) RGB, labels (H, W) train ids.
"""

import cv2
import numpy as np

from regproxy.config import IGNORE_LABEL, Recipe
from regproxy.data.geometry import rescaled_size

_CROP_TRIES = 10


def augment(
    image: np.ndarray, label: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws one training view; the result is at most `recipe.crop` large, smaller where the image is.

    Args:
        image: (H, W, 3) uint8 RGB.
        label: (H, W) uint8 train ids, 255 void.
        recipe: says scale, ratios, crop and distortions.
        generator: every draw comes from it, so equal generators give equal views.
    """
    image, label = random_resize(image, label, recipe, generator)
    image, label = random_crop(image, label, recipe, generator)
    if generator.random() < recipe.flip_probability:
        image, label = image[:, ::-1], label[:, ::-1]
    if recipe.photometric:
        image = distort_photometry(np.ascontiguousarray(image), generator)
    return image, label


def random_resize(
    image: np.ndarray, label: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Rescales into a random multiple of the base scale: image bilinear, label nearest."""
    ratio = generator.uniform(*recipe.ratio_range)
    long_side, short_side = (int(side * ratio) for side in recipe.scale)
    height, width = rescaled_size(image.shape[:2], (long_side, short_side))
    if (height, width) == image.shape[:2]:
        return image, label
    resized = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    return resized, cv2.resize(label, (width, height), interpolation=cv2.INTER_NEAREST)


def random_crop(
    image: np.ndarray, label: np.ndarray, recipe: Recipe, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a crop, redrawn up to ten times while one class fills too much of its valid pixels."""
    height, width = (min(side, size) for side, size in zip(recipe.crop, label.shape, strict=True))
    for attempt in range(_CROP_TRIES + 1):
        top = int(generator.integers(label.shape[0] - height + 1))
        left = int(generator.integers(label.shape[1] - width + 1))
        window = (slice(top, top + height), slice(left, left + width))
        if attempt == _CROP_TRIES or largest_class_share(label[window]) < recipe.max_class_share:
            break
    return image[window], label[window]


def largest_class_share(label: np.ndarray) -> float:
    """Returns the share of valid pixels that the most frequent class fills, 1.0 where none is valid."""
    counts = np.bincount(label.ravel(), minlength=256)[:IGNORE_LABEL]
    valid = counts.sum()
    return float(counts.max() / valid) if valid else 1.0


def distort_photometry(image: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Shifts brightness, contrast, saturation and hue, each with probability one half.

    Contrast comes before or after the colour steps, by a further coin. Each step rounds to uint8, as
    the authors' does; hue moves by whole steps of OpenCV's 0..179 scale, that is of two degrees.
    """
    if generator.integers(2):
        image = _linear(image, 1.0, generator.uniform(-32, 32))
    contrast_first = generator.integers(2)
    if contrast_first and generator.integers(2):
        image = _linear(image, generator.uniform(0.5, 1.5), 0.0)
    if generator.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 1] = _linear(hsv[..., 1], generator.uniform(0.5, 1.5), 0.0)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if generator.integers(2):
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        shift = generator.integers(-18, 18)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + shift) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    if not contrast_first and generator.integers(2):
        image = _linear(image, generator.uniform(0.5, 1.5), 0.0)
    return image


def _linear(values: np.ndarray, scale: float, shift: float) -> np.ndarray:
    """Returns clip(values * scale + shift) truncated to uint8, by a table of the 256 possible values."""
    table = np.clip(np.arange(256, dtype=np.float32) * np.float32(scale) + np.float32(shift), 0, 255)
    return table.astype(np.uint8)[values]


def pad(image: np.ndarray, label: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Fills up to `size` at the right and bottom: image with 0, label with 255."""
    height, width = label.shape
    if (height, width) == size:
        return image, label
    padded_image = np.zeros((*size, 3), np.uint8)
    padded_label = np.full(size, IGNORE_LABEL, np.uint8)
    padded_image[:height, :width], padded_label[:height, :width] = image, label
    return padded_image, padded_label
