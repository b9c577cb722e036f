"""Score a trained network on the validation split of its data set."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regproxy.config.variant import Variant
from regproxy.data.shards import Shards
from regproxy.eval import metrics
from regproxy.eval.image_confusions import pack
from regproxy.eval.score import tally_shards


def score_network(model: nn.Module, variant: Variant, data_dir: Path) -> dict[str, Any]:
    """Return the scores over all validation images of prepared data, at their original resolution.

    Shares are in 0..1. `multi_scale` is None unless the variant's evaluation asks for it. `region_entropy`
    is in nats, None for a network without regions. `iou_per_class` and `boundary_iou_per_class` are None for
    a class that occurs in neither label nor prediction; `boundary_iou` is the mean over the others.
    `confusion_per_image` is a text for `image_confusions.unpack`, None for too many images.

    Args:
        model: the variant's network, in eval mode; scoring runs on its device.
        variant: evaluation settings, image statistics and classes.
        data_dir: folder with the manifest and the validation shards.
    """
    shards = Shards(data_dir, "val")
    tally = tally_shards(model, shards, variant, range(len(shards)))
    intersection, union = tally.boundary
    boundary = metrics.ratio(intersection.astype(np.float64), union)
    return {
        "num_images": len(shards),
        **mean_scores(tally.single_scale),
        "multi_scale": None if tally.multi_scale is None else mean_scores(tally.multi_scale),
        "region_entropy": tally.mean_entropy,
        "iou_per_class": [_number(value) for value in metrics.iou_per_class(tally.single_scale)],
        "boundary_iou": _number(metrics.mean_of_present(boundary)),
        "boundary_iou_per_class": [_number(value) for value in boundary],
        "confusion_per_image": pack(tally.per_image, variant.data.num_classes),
    }


def mean_scores(matrix: np.ndarray) -> dict[str, float]:
    """Return the mean scores of a (K, K) confusion matrix, in 0..1."""
    return {
        "miou": float(metrics.mean_iou(matrix)),
        "pixel_accuracy": float(metrics.pixel_accuracy(matrix)),
        "mean_accuracy": float(metrics.mean_accuracy(matrix)),
    }


def _number(value: float) -> float | None:
    return None if value != value else float(value)
