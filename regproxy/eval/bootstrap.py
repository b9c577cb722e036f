"""Is the difference between two variants real? A paired bootstrap over images and seeds.

Efron and Tibshirani, An Introduction to the Bootstrap, 1993. A resample draws as many images as the split
has, with replacement, and as many seeds as there are. All variants and seeds get the same images, and both
variants get the same seeds: a hard image lowers both scores, and their difference shows only what separates
the variants. Each resample is scored as a whole split: sums over its images, IoU of each class, mean over
the classes that occur. The statistic is the difference of the medians over the seeds, since the tables
report medians.

With S seeds there are only S trainings to draw from, so the interval is too narrow where trainings differ
more than images do. Even without any difference, all S seeds favour the same variant in one of 2^(S-1)
comparisons, and such an interval excludes 0.

N images, K classes, B resamples.
"""

from collections.abc import Iterator, Mapping

import numpy as np

NUM_RESAMPLES = 2000
_IMAGES_SEED, _SEEDS_SEED = 0, 1  # constants: the same records give the same interval
_WEIGHTS_AT_ONCE = 2**21  # 16 MiB of image weights


def resampled_mious(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Return the mIoU of a split in every resample of its images, in 0..1; NaN if it has no valid pixel.

    Splits of N images get the same resamples in every call.

    Args:
        intersection: (N, K) pixels of each image that have a class in both label and prediction.
        union: (N, K) pixels of each image that have a class in label or prediction.

    Returns:
        float64 (B,).
    """
    # Counts are whole numbers below 2^53, so sums in float64 are exact in any order.
    parts, wholes = intersection.astype(np.float64), union.astype(np.float64)
    mious = []
    for weights in _image_weights(len(parts)):
        part, whole = weights @ parts, weights @ wholes
        occurs = whole > 0
        ious = np.divide(part, whole, out=np.zeros_like(part), where=occurs)
        present = occurs.sum(axis=1)
        mious.append(np.divide(ious.sum(axis=1), present, out=np.full(len(ious), np.nan), where=present > 0))
    return np.concatenate(mious)


def difference_interval(
    first: Mapping[int, np.ndarray], second: Mapping[int, np.ndarray], *, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the percentile interval of the difference of the medians over seeds, `first` minus `second`.

    Args:
        first, second: by seed, the mIoU in every resample of the images, (B,) from `resampled_mious`. If both
            have the same seeds, they get the same draws of them; otherwise each gets its own draws.
        confidence: share of the resamples inside of the interval.
    """
    random = np.random.default_rng(_SEEDS_SEED)
    drawn = random.integers(len(first), size=(NUM_RESAMPLES, len(first)))
    paired = first.keys() == second.keys()
    drawn_second = drawn if paired else random.integers(len(second), size=(NUM_RESAMPLES, len(second)))
    differences = _medians(first, drawn) - _medians(second, drawn_second)
    outside = 50 * (1 - confidence)
    low, high = np.nanpercentile(differences, (outside, 100 - outside))
    return float(low), float(high)


def _image_weights(num_images: int) -> Iterator[np.ndarray]:
    """Yield how often each resample draws each image, float64 (some resamples, N), for B resamples in all."""
    random = np.random.default_rng(_IMAGES_SEED)
    at_once = max(_WEIGHTS_AT_ONCE // num_images, 1)
    for first in range(0, NUM_RESAMPLES, at_once):
        size = min(at_once, NUM_RESAMPLES - first)
        drawn = random.integers(num_images, size=(size, num_images))
        drawn += num_images * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * num_images)
        yield counts.reshape(size, num_images).astype(np.float64)


def _medians(mious: Mapping[int, np.ndarray], drawn: np.ndarray) -> np.ndarray:
    """Return the median over the drawn seeds in every resample (B,). `drawn` (B, S) are places of seeds."""
    by_seed = np.stack([mious[seed] for seed in sorted(mious)], axis=1)
    return np.median(np.take_along_axis(by_seed, drawn, axis=1), axis=1)
