"""Scores from counts: count, add over images and workers, then divide."""

import numpy as np


def confusion_matrix(
    prediction: np.ndarray, label: np.ndarray, *, num_classes: int, ignore_label: int
) -> np.ndarray:
    """Counts pixels by label (rows) and prediction (columns): int64 (K, K).

    Args:
        prediction: integer classes 0..K-1, any shape.
        label: integer classes of the same shape; pixels of `ignore_label` count nowhere.

    Raises:
        ValueError: shapes differ, or a value is neither a class nor ignored.
    """
    prediction, label = np.asarray(prediction), np.asarray(label)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    valid = label != ignore_label
    rows, columns = label[valid].astype(np.int64), prediction[valid].astype(np.int64)
    for name, values in (("label", rows), ("prediction", columns)):
        if values.size and not 0 <= values.min() <= values.max() < num_classes:
            wrong = values.max() if values.max() >= num_classes else values.min()
            raise ValueError(f"{name} {wrong} is no class, allowed are 0 to {num_classes - 1}")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def iou_per_class(matrix: np.ndarray) -> np.ndarray:
    """Returns intersection over union by class: float64 (K,), NaN for a class in neither map."""
    hit = np.diag(matrix).astype(np.float64)
    return _ratio(hit, matrix.sum(axis=0) + matrix.sum(axis=1) - hit)


def mean_iou(matrix: np.ndarray) -> float:
    """Returns the mean IoU over the classes present in prediction or label, in 0..1."""
    return _mean(iou_per_class(matrix))


def mean_accuracy(matrix: np.ndarray) -> float:
    """Returns the mean over the labelled classes of the share of their pixels that is found."""
    return _mean(_ratio(np.diag(matrix).astype(np.float64), matrix.sum(axis=1)))


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Returns the share of valid pixels that is right."""
    return float(_ratio(np.diag(matrix).sum(dtype=np.float64), matrix.sum()))


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full_like(part, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
