"""The scores of single images, from the result records, and the choice of the images that a report shows."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from regproxy.eval.image_confusions import ImageConfusions

_EXTREMES = 3  # images of the largest gains, and as many of the largest losses
_ORDINALS = ("", "second ", "third ")


@dataclass(frozen=True)
class Choice:
    """An image of the split and why it is shown; gains and losses have rank 0, 1, ..., the largest first."""

    index: int
    reason: Literal["spread", "gain", "loss"]
    rank: int = 0

    @property
    def superlative(self) -> str:
        """Return "largest gain", "second largest loss" and so on."""
        return f"{_ORDINALS[self.rank]}largest {self.reason}"


def choose_images(length: int, num_spread: int, gains: np.ndarray | None = None) -> list[Choice]:
    """Return the images to show: spread evenly, then the largest gains, then the largest losses.

    An image is shown once. One with a large gain or loss is not also among those that are spread.

    Args:
        length: number of images of the split.
        num_spread: number of images to spread.
        gains: how much better the main variant is than the baseline on each image, (length,); NaN for an
            image that cannot be compared. None shows neither gains nor losses.
    """
    extremes = []
    if gains is not None:
        order = np.argsort(np.where(np.isnan(gains), 0, -gains), kind="stable")
        best = [index for index in order[:_EXTREMES] if gains[index] > 0]
        worst = [index for index in order[::-1][:_EXTREMES] if gains[index] < 0]
        extremes += [Choice(int(index), "gain", rank) for rank, index in enumerate(best)]
        extremes += [Choice(int(index), "loss", rank) for rank, index in enumerate(worst)]
    taken = {choice.index for choice in extremes}
    evenly = [Choice(index, "spread") for index in spread(length, num_spread) if index not in taken]
    return [*evenly, *extremes]


def spread(length: int, count: int) -> list[int]:
    """Return `count` equally distant indices below `length`; all indices if there are fewer than `count`."""
    count = min(count, length)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


def image_mious(confusions: ImageConfusions) -> np.ndarray:
    """Return the mIoU of each image in 0..1, float64 (N,): see `label_miou`."""
    return label_miou(confusions.correct(), confusions.labelled(), confusions.predicted())


def label_miou(correct: np.ndarray, labelled: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Return the mean IoU over the classes of the label, in 0..1; NaN for an image without a label.

    A class that only the prediction has is not in the mean, so that a few wrong pixels of a rare class do not
    decide which image is best.

    Args:
        correct, labelled, predicted: pixels of each class that are correct, that have this label, and valid
            pixels with this prediction, (..., K).
    """
    present = labelled > 0
    union = np.where(present, labelled + predicted - correct, 1)
    sums, counts = np.where(present, correct / union, 0.0).sum(axis=-1), present.sum(axis=-1)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
