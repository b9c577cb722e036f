"""Scores from a confusion matrix. Counts add up over images and workers; ratios are computed last."""

import numpy as np

from regproxy.errors import DataError


def confusion_matrix(
    prediction: np.ndarray, label: np.ndarray, *, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Return the number of pixels by label (rows) and prediction (columns), int64 (K, K).

    Args:
        prediction: integer classes 0..K-1, any shape.
        label: integer classes of the same shape; pixels with `ignore_label` are not counted.

    Raises:
        ValueError: the shapes differ.
        DataError: a value is neither a class nor `ignore_label`.
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    valid = label != ignore_label
    rows, columns = label[valid].astype(np.int64), prediction[valid].astype(np.int64)
    for name, values in (("label", rows), ("prediction", columns)):
        wrong = values[(values < 0) | (values >= num_classes)]
        if wrong.size:
            raise DataError(
                f"{name} {wrong[0]} is invalid: expected 0 to {num_classes - 1}. "
                f"Prepare the data set again with the classes of the run."
            )
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def iou_per_class(matrix: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class, float64 (K,); NaN without any pixel of the class."""
    correct = np.diag(matrix).astype(np.float64)
    return ratio(correct, matrix.sum(axis=0) + matrix.sum(axis=1) - correct)


def mean_iou(matrix: np.ndarray) -> float:
    """Return the mean IoU over the classes that occur in predictions or labels, in 0..1."""
    return mean_of_present(iou_per_class(matrix))


def mean_accuracy(matrix: np.ndarray) -> float:
    """Return the mean over the labelled classes of the share of their pixels that is correct, in 0..1."""
    return mean_of_present(accuracy_per_class(matrix))


def accuracy_per_class(matrix: np.ndarray) -> np.ndarray:
    """Return the share of the pixels of each class that is correct, float64 (K,); NaN without any pixel."""
    return ratio(np.diag(matrix).astype(np.float64), matrix.sum(axis=1))


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Return the share of the valid pixels that is correct, in 0..1."""
    return float(ratio(np.diag(matrix).sum(dtype=np.float64), matrix.sum()))


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return part / whole element by element, `part` float64 and `whole` counts; NaN where `whole` is 0."""
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def mean_of_present(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN; NaN if all are."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
