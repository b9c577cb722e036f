"""Counts of a split: which prediction counts in which confusion matrix, and in the boundaries."""

import dataclasses
from pathlib import Path

import numpy as np
import torch
from smoke_profile import SMOKE_VARIANTS

from regproxy.data.shards import Shards
from regproxy.eval.boundary import boundary_counts
from regproxy.eval.metrics import confusion_matrix
from regproxy.eval.score import read_pair, tally_shards
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.model.build import build


def test_single_scale_and_multi_scale_have_their_own_predictions(smoke_data: dict[str, Path]) -> None:
    variant = SMOKE_VARIANTS["ade20k", "region-4x4"]
    evaluation = dataclasses.replace(variant.evaluation, multi_scale_ratios=(0.5, 1.75))
    variant = dataclasses.replace(variant, evaluation=evaluation)
    torch.manual_seed(0)
    model, shards = build(variant).eval(), Shards(smoke_data["ade20k"], "val")
    tally = tally_shards(model, shards, variant, [0, 1])
    settings = {
        "evaluation": evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }
    expected = [
        sum(
            confusion_matrix(function(model, image, **settings), label, num_classes=8, ignore_label=255)
            for image, label in (read_pair(shards, index) for index in (0, 1))
        )
        for function in (predict, predict_multi_scale)
    ]
    np.testing.assert_array_equal(tally.single_scale, expected[0])
    np.testing.assert_array_equal(tally.multi_scale, expected[1])
    assert (expected[0] != expected[1]).any()
    boundary, pairs = np.zeros((2, 8), np.int64), [read_pair(shards, index) for index in (0, 1)]
    for (image, label), sparse in zip(pairs, tally.per_image, strict=True):
        prediction = predict(model, image, **settings)
        matrix = confusion_matrix(prediction, label, num_classes=8, ignore_label=255)
        assert sparse.indices.tolist() == np.flatnonzero(matrix).tolist()
        assert sparse.counts.tolist() == matrix[matrix > 0].tolist()
        boundary += boundary_counts(prediction, label, num_classes=8, ignore_label=255)
    np.testing.assert_array_equal(tally.boundary, boundary)
    assert tally_shards(model, shards, SMOKE_VARIANTS["ade20k", "linear"], []).mean_entropy is None
