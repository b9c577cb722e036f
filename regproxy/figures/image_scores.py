"""The confusion matrices of single images from the result records, and the mIoU of each image."""

import numpy as np

from regproxy.eval.image_confusions import ImageConfusions, unpack
from regproxy.report.aggregate import Score


def image_confusions(score: Score) -> ImageConfusions | None:
    """Return the confusion matrices of all images of a variant's median seed.

    None if no seed is scored, or the record has none: it is older, or they were too many.

    Raises:
        DataError: the record is damaged.
    """
    if not score.trials:
        return None
    result = score.trials[score.median_seed].result
    text = result.get("confusion_per_image")
    return unpack(text, result["num_images"], score.variant.data.num_classes) if text else None


def split_confusion(confusions: ImageConfusions) -> np.ndarray:
    """Return the sum of the matrices of all images: pixels by label (rows) and prediction, int64 (K, K)."""
    total = np.zeros((confusions.num_classes,) * 2, np.int64)
    np.add.at(total, (confusions.labels, confusions.predictions), confusions.counts)
    return total


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
