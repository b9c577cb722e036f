"""Score a trained network on the validation split of its data set."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from regproxy.config.variant import Variant
from regproxy.data.shards import Shards
from regproxy.eval import metrics
from regproxy.eval.score import tally_shards


def score_network(model: nn.Module, variant: Variant, data_dir: Path) -> dict[str, Any]:
    """Return the scores over all validation images of prepared data, at their original resolution.

    Shares are in 0..1. `multi_scale` is None unless the variant's evaluation asks for it. `region_entropy`
    is in nats, None for a network without regions. `iou_per_class` is None for a class that occurs in
    neither label nor prediction.

    Args:
        model: the variant's network, in eval mode; scoring runs on its device.
        variant: evaluation settings, image statistics and classes.
        data_dir: folder with the manifest and the validation shards.
    """
    shards = Shards(data_dir, "val")
    tally = tally_shards(model, shards, variant, range(len(shards)))
    per_class = metrics.iou_per_class(tally.single_scale).tolist()
    return {
        "num_images": len(shards),
        **mean_scores(tally.single_scale),
        "multi_scale": None if tally.multi_scale is None else mean_scores(tally.multi_scale),
        "region_entropy": tally.mean_entropy,
        "iou_per_class": [None if value != value else value for value in per_class],
    }


def mean_scores(matrix: np.ndarray) -> dict[str, float]:
    """Return the mean scores of a (K, K) confusion matrix, in 0..1."""
    return {
        "miou": float(metrics.mean_iou(matrix)),
        "pixel_accuracy": float(metrics.pixel_accuracy(matrix)),
        "mean_accuracy": float(metrics.mean_accuracy(matrix)),
    }
