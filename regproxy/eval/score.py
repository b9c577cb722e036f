"""Scores of a model on a prepared split: one confusion matrix, then ratios."""

from collections.abc import Iterable

import numpy as np
from torch import nn

from regproxy.config import IGNORE_LABEL, Cell
from regproxy.data.loader import decode
from regproxy.data.shards import Shards
from regproxy.eval.infer import predict
from regproxy.eval.metrics import confusion_matrix


def confusion_of_shards(model: nn.Module, shards: Shards, cell: Cell, indices: Iterable[int]) -> np.ndarray:
    """Returns the (K, K) int64 confusion matrix over the images `indices`, at their original resolution.

    The model must be in eval mode. Parts of a split add up to the matrix of the whole.
    """
    num_classes = cell.data.num_classes
    total = np.zeros((num_classes, num_classes), np.int64)
    for index in indices:
        record = shards.read(index)
        image, label = decode(record.image, record.label)
        prediction = predict(
            model, image, evaluation=cell.evaluation, mean=cell.recipe.image_mean, std=cell.recipe.image_std
        )
        total += confusion_matrix(prediction, label, num_classes=num_classes, ignore_label=IGNORE_LABEL)
    return total
