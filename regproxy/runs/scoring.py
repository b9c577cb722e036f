"""Score a trained network on a split of a data set."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regproxy.config.variant import Variant
from regproxy.data.shards import Shards
from regproxy.eval import metrics
from regproxy.eval.image_confusions import pack
from regproxy.eval.score import Tally, tally_shards


def score_network(model: nn.Module, variant: Variant, data_dir: Path, split: str = "val") -> dict[str, Any]:
    """Return the scores over all images of a split of prepared data, at their original resolution: `scores`.

    Args:
        model: the variant's network, in eval mode; scoring runs on its device.
        variant: evaluation settings, image statistics and classes.
        data_dir: folder with the manifest and the shards.
    """
    shards = Shards(data_dir, split)
    return scores(tally_shards(model, shards, variant, range(len(shards))))


def scores(tally: Tally, counted: Sequence[int] | None = None) -> dict[str, Any]:
    """Return the scores of a tally.

    Shares are in 0..1. `multi_scale` is None unless the variant's evaluation asks for it. `region_entropy`
    is in nats, None for a network without regions. `iou_per_class` and `boundary_iou_per_class` are None for
    a class that occurs in neither label nor prediction; `boundary_iou` is the mean over the others.
    `confusion_per_image` is a text for `image_confusions.unpack`, None for too many images.

    Args:
        tally: of all images of a split.
        counted: the classes whose scores count, in this order, if they are not all of the model's. Their
            pixels that have another prediction are wrong. There is no `confusion_per_image` then.
    """
    num_classes = len(tally.single_scale)
    chosen = np.arange(num_classes) if counted is None else np.asarray(counted)
    intersection, union = tally.boundary[:, chosen]
    boundary = metrics.ratio(intersection.astype(np.float64), union)
    return {
        "num_images": len(tally.per_image),
        **mean_scores(tally.single_scale, counted),
        "multi_scale": None if tally.multi_scale is None else mean_scores(tally.multi_scale, counted),
        "region_entropy": tally.mean_entropy,
        "iou_per_class": [_number(value) for value in metrics.iou_per_class(tally.single_scale)[chosen]],
        "boundary_iou": _number(metrics.mean_of_present(boundary)),
        "boundary_iou_per_class": [_number(value) for value in boundary],
        "confusion_per_image": pack(tally.per_image, num_classes) if counted is None else None,
    }


def mean_scores(matrix: np.ndarray, counted: Sequence[int] | None = None) -> dict[str, float]:
    """Return the mean scores of a (K, K) confusion matrix, in 0..1; the mIoU over the `counted` classes."""
    iou = metrics.iou_per_class(matrix)
    return {
        "miou": float(metrics.mean_of_present(iou if counted is None else iou[list(counted)])),
        "pixel_accuracy": float(metrics.pixel_accuracy(matrix)),
        "mean_accuracy": float(metrics.mean_accuracy(matrix)),
    }


def _number(value: float) -> float | None:
    return None if value != value else float(value)
