"""Scores of a model on a prepared split: confusion matrices, and the entropy of its regions."""

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

_MAX_COUNTS = 2**22  # counters (sub-cells x classes) in memory at once


@dataclass
class Tally:
    """Sums over images: confusion matrices (K, K) int64, and the entropy of regions in nats."""

    single_scale: np.ndarray
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
    total = np.zeros((variant.data.num_classes,) * 2, np.int64)
    for index in indices:
        image, label = read_pair(shards, index)
        total += _confusion(predict(model, image, **_settings(variant)), label, variant)
    return total


def tally_shards(model: nn.Module, shards: Shards, variant: Variant, indices: Iterable[int]) -> Tally:
    """Return the sums over the images `indices`: single scale, regions, and multi-scale if it is asked for.

    The model must be in eval mode. Only RegProxy has regions.
    """
    tally = Tally(np.zeros((variant.data.num_classes,) * 2, np.int64))
    if variant.evaluation.multi_scale_ratios:
        tally.multi_scale = np.zeros_like(tally.single_scale)
    for index in indices:
        image, label = read_pair(shards, index)
        observe = (
            _RegionObserver(tally, label, variant, model.patch) if variant.model.head == "regproxy" else None
        )
        tally.single_scale += _confusion(
            predict(model, image, **_settings(variant), observe=observe), label, variant
        )
        if tally.multi_scale is not None:
            tally.multi_scale += _confusion(
                predict_multi_scale(model, image, **_settings(variant)), label, variant
            )
    return tally


def read_pair(shards: Shards, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an image (X, Y, 3) and its label (X, Y), both uint8."""
    record = shards.read(index)
    return decode(record.image, record.label)


@dataclass
class _RegionObserver:
    """An observer of predictions that adds the entropies of the regions of one image's windows to a tally."""

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
        grid = (rows * height, columns * width)
        num_at_once = max(_MAX_COUNTS // (grid[0] * grid[1]), 1)
        for corner, window_affinity in zip(corners, affinity.split(1), strict=True):
            cells = [
                sub_cells(length, self.patch / divisions, start_px=start, scale=scale).to(affinity.device)
                for length, divisions, start, scale in zip(
                    self.label.shape, (height, width), corner, self.scale, strict=True
                )
            ]
            masses = []
            for first in range(0, num_classes, num_at_once):
                num = min(num_at_once, num_classes - first)
                counts = class_counts(label - first, *cells, grid, num)  # ignores labels outside 0..num-1
                masses.append(region_masses(window_affinity, counts))
            histograms, filled = normalised(torch.cat(masses, dim=1))
            self.tally.entropy += entropies(histograms)[filled].sum().item()
            self.tally.num_regions += int(filled.sum())


def _settings(variant: Variant) -> dict:
    return {
        "evaluation": variant.evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }


def _confusion(prediction: np.ndarray, label: np.ndarray, variant: Variant) -> np.ndarray:
    return confusion_matrix(
        prediction, label, num_classes=variant.data.num_classes, ignore_label=IGNORE_LABEL
    )
