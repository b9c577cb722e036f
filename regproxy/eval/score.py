"""Scores of a model on a prepared split: one confusion matrix, then ratios; and how pure its regions are."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from regproxy.config.variant import IGNORE_LABEL, Variant
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import decode
from regproxy.data.shards import Shards
from regproxy.eval.metrics import confusion_matrix
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.model.regions import class_counts, entropies, normalised, region_masses, sub_cells

_COUNTS = 2**22  # pixels by sub-cell and class that are counted at a time


@dataclass
class Tally:
    """Counts over images: confusion matrices (K, K) int64 and the entropies of regions, summed in nats."""

    single_scale: np.ndarray
    multi_scale: np.ndarray | None = None
    entropy: float = 0.0
    num_regions: int = 0

    @property
    def mean_entropy(self) -> float | None:
        """Mean entropy of the region histograms in nats; None where the network has no regions."""
        return self.entropy / self.num_regions if self.num_regions else None


def confusion_of_shards(
    model: nn.Module, shards: Shards, variant: Variant, indices: Iterable[int]
) -> np.ndarray:
    """Returns the (K, K) int64 confusion matrix over the images `indices`, at their original resolution.

    The model must be in eval mode. Parts of a split add up to the matrix of the whole.
    """
    total = np.zeros((variant.data.num_classes,) * 2, np.int64)
    for index in indices:
        image, label = read_pair(shards, index)
        total += _confusion(predict(model, image, **_how(variant)), label, variant)
    return total


def tally_shards(model: nn.Module, shards: Shards, variant: Variant, indices: Iterable[int]) -> Tally:
    """Counts all that `variant.evaluation` asks for, and for RegProxy the entropy of the regions."""
    tally = Tally(np.zeros((variant.data.num_classes,) * 2, np.int64))
    if variant.evaluation.multi_scale_ratios:
        tally.multi_scale = np.zeros_like(tally.single_scale)
    for index in indices:
        image, label = read_pair(shards, index)
        observe = (
            _RegionObserver(tally, label, variant, model.patch) if variant.model.head == "regproxy" else None
        )
        tally.single_scale += _confusion(
            predict(model, image, **_how(variant), observe=observe), label, variant
        )
        if tally.multi_scale is not None:
            tally.multi_scale += _confusion(
                predict_multi_scale(model, image, **_how(variant)), label, variant
            )
    return tally


def read_pair(shards: Shards, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns image (X, Y, 3) and label (X, Y), uint8 both."""
    record = shards.read(index)
    return decode(record.image, record.label)


@dataclass
class _RegionObserver:
    """Adds the entropies of the regions of one image's windows to a tally, as prediction comes by."""

    tally: Tally
    label: np.ndarray
    variant: Variant
    patch: int
    scale: tuple[float, float] = field(init=False)

    def __post_init__(self) -> None:
        size = rescaled_size(self.label.shape, self.variant.evaluation.scale)
        self.scale = (size[0] / self.label.shape[0], size[1] / self.label.shape[1])

    def __call__(self, corners: list[tuple[int, int]], affinity: Tensor) -> None:
        label = torch.from_numpy(self.label).to(affinity.device)[None].long()
        num_classes, (height, width, rows, columns) = self.variant.data.num_classes, affinity.shape[2:]
        size = (rows * height, columns * width)
        at_once = max(_COUNTS // (size[0] * size[1]), 1)
        for corner, own in zip(corners, affinity.split(1), strict=True):
            places = [
                sub_cells(length, self.patch / parts, start_px=start, scale=scale).to(affinity.device)
                for length, parts, start, scale in zip(
                    self.label.shape, (height, width), corner, self.scale, strict=True
                )
            ]
            masses = []
            for first in range(0, num_classes, at_once):  # labels of other classes are out of range
                some = min(at_once, num_classes - first)
                masses.append(region_masses(own, class_counts(label - first, *places, size, some)))
            histograms, filled = normalised(torch.cat(masses, dim=1))
            self.tally.entropy += entropies(histograms)[filled].sum().item()
            self.tally.num_regions += int(filled.sum())


def _how(variant: Variant) -> dict:
    return {
        "evaluation": variant.evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }


def _confusion(prediction: np.ndarray, label: np.ndarray, variant: Variant) -> np.ndarray:
    return confusion_matrix(
        prediction, label, num_classes=variant.data.num_classes, ignore_label=IGNORE_LABEL
    )
