"""Counts of a model on a prepared split: confusion matrices, boundaries, and the entropy of its regions."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.variant import Variant
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import decode
from regproxy.data.shards import Record, Shards
from regproxy.eval.boundary import boundary_counts
from regproxy.eval.image_confusions import SparseMatrix
from regproxy.eval.metrics import confusion_matrix
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.model.regions import class_counts, entropies, normalised, region_masses

_MAX_COUNTS = 2**22  # counters (sub-cells x classes) in memory at once


class Samples(Protocol):
    """The images and labels of a split: prepared shards, or files that are read when they are needed."""

    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def read(self, index: int) -> Record: ...


@dataclass
class Tally:
    """Sums over images: confusion matrices (K, K) int64, and the entropy of regions in nats.

    `boundary` are the counts of `boundary_counts`, (2, K) int64, and `per_image` the confusion matrix of each
    image, both of the single-scale predictions.
    """

    single_scale: np.ndarray
    boundary: np.ndarray
    per_image: list[SparseMatrix] = field(default_factory=list)
    multi_scale: np.ndarray | None = None
    entropy: float = 0.0
    num_regions: int = 0

    @property
    def mean_entropy(self) -> float | None:
        """The mean entropy of the region histograms in nats; None for a network without regions."""
        return self.entropy / self.num_regions if self.num_regions else None


def confusion_of_shards(
    model: nn.Module, shards: Shards, variant: Variant, indices: Iterable[int]
) -> np.ndarray:
    """Return the confusion matrix (K, K) int64 over the images `indices`, at their original resolution.

    The matrices of parts of a split add up to that of the split. The model must be in eval mode.
    """
    total, settings = _no_counts(variant), _settings(variant)
    for index in indices:
        image, label = read_pair(shards, index)
        total += _confusion(predict(model, image, **settings), label, variant)
    return total


@dataclass(frozen=True)
class ImageScore:
    """What `tally_shards` counted for one image.

    Attributes:
        id: of the image.
        image: (X, Y, 3), uint8 RGB.
        prediction: (X, Y), class ids; of several scales if these are scored, else of a single one.
        matrix: the confusion matrix of the prediction at a single scale, (K, K) int64.
    """

    id: str
    image: np.ndarray
    prediction: np.ndarray
    matrix: np.ndarray


def tally_shards(
    model: nn.Module,
    shards: Samples,
    variant: Variant,
    indices: Iterable[int],
    *,
    label_ids: np.ndarray | None = None,
    on_image: Callable[[ImageScore], None] | None = None,
) -> Tally:
    """Return the sums over the images `indices`: single scale, boundaries, regions; multi-scale if asked for.

    The model must be in eval mode. Only RegProxy has regions.

    Args:
        label_ids: the model's class of each label value, uint8 (256,), for data with other ids.
        on_image: called after every image.
    """
    multi_scale = _no_counts(variant) if variant.evaluation.multi_scale_ratios else None
    boundary = np.zeros((2, variant.data.num_classes), np.int64)
    tally, settings = Tally(_no_counts(variant), boundary, multi_scale=multi_scale), _settings(variant)
    has_regions = variant.model.head == "regproxy"
    for index in indices:
        record = shards.read(index)
        image, label = decode(record.image, record.label)
        label = label if label_ids is None else label_ids[label]
        observe = partial(_add_regions, tally, label, variant, model.patch) if has_regions else None
        prediction = predict(model, image, **settings, observe=observe)
        matrix = _confusion(prediction, label, variant)
        tally.single_scale += matrix
        tally.per_image.append(SparseMatrix.of(matrix))
        tally.boundary += boundary_counts(prediction, label, **_classes(variant))
        if tally.multi_scale is not None:
            prediction = predict_multi_scale(model, image, **settings)
            tally.multi_scale += _confusion(prediction, label, variant)
        if on_image is not None:
            on_image(ImageScore(record.id, image, prediction, matrix))
    return tally


def read_pair(shards: Shards, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (X, Y, 3) and its label (X, Y), both uint8."""
    record = shards.read(index)
    return decode(record.image, record.label)


def _add_regions(
    tally: Tally,
    label: np.ndarray,
    variant: Variant,
    patch: int,
    corners: list[tuple[int, int]],
    affinity: Tensor,
) -> None:
    """Add the entropies of the regions of an image's windows to a tally.

    With all but the last two arguments it is an observer of `predict`.

    Args:
        label: (X, Y), at the image's original resolution.
        patch: side of a token in pixels.
        corners: (top, left) pixel of each window in the rescaled image.
        affinity: (B, 9, h, w, H, W) of the windows.
    """
    labels = torch.from_numpy(label).to(affinity.device)[None].long()
    rescaled = rescaled_size(label.shape, variant.evaluation.scale)
    scale = (rescaled[0] / label.shape[0], rescaled[1] / label.shape[1])
    num_at_once = max(_MAX_COUNTS // math.prod(affinity.shape[2:]), 1)
    for corner, window in zip(corners, affinity.split(1), strict=True):
        count = partial(class_counts, patch=patch, corner=corner, scale=scale)
        masses = []
        for classes in torch.arange(variant.data.num_classes).split(num_at_once):
            own = labels - classes[0].item()  # labels outside 0..len(classes)-1 are not counted
            masses.append(region_masses(window, count(own, window, num_classes=len(classes))))
        histograms, filled = normalised(torch.cat(masses, dim=1))
        tally.entropy += entropies(histograms)[filled].sum().item()
        tally.num_regions += int(filled.sum())


def _no_counts(variant: Variant) -> np.ndarray:
    return np.zeros((variant.data.num_classes,) * 2, np.int64)


def _settings(variant: Variant) -> dict:
    recipe = variant.recipe
    return {"evaluation": variant.evaluation, "mean": recipe.image_mean, "std": recipe.image_std}


def _confusion(prediction: np.ndarray, label: np.ndarray, variant: Variant) -> np.ndarray:
    return confusion_matrix(prediction, label, **_classes(variant))


def _classes(variant: Variant) -> dict[str, int]:
    return {"num_classes": variant.data.num_classes, "ignore_label": IGNORE_LABEL}
