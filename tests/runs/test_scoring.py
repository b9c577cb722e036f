"""Scores of a finished run: with the run's own image statistics, and valid for one run and one setting."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.recipe import IMAGENET_MEAN, IMAGENET_STD
from regproxy.data.shards import Shards
from regproxy.eval import score
from regproxy.eval.image_confusions import unpack
from regproxy.eval.metrics import confusion_matrix
from regproxy.eval.score import confusion_of_shards, read_pair, tally_shards
from regproxy.model.build import build
from regproxy.runs.result import is_scored, result_path, score_run
from regproxy.runs.saved_model import save_model
from regproxy.runs.scoring import mean_scores, score_network
from regproxy.runs.trial import Trial

STATISTICS = {"image_mean": (40.0, 130.0, 200.0), "image_std": (90.0, 25.0, 60.0)}


class Colours(nn.Module):
    """A network that classifies a pixel by its normalised colour alone."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = 1
        self.weight = nn.Parameter(torch.ones(()))  # prediction takes its device from a parameter

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (B, 3, X, Y) to logits (B, 8, X, Y)."""
        red, green, blue = images.unbind(1)
        return torch.stack([red, green, blue, -red, -green, -blue, red - green, green - blue], dim=1)


@pytest.fixture
def trial(make_trial: Callable[..., Trial]) -> Trial:
    return make_trial("linear", **STATISTICS)


def at_original_size(trial: Trial) -> Trial:
    """Return the trial with an evaluation that neither rescales the first image nor cuts it into windows."""
    record = Shards(trial.workspace.data_dir, "val").read(0)
    size = (record.height, record.width)
    evaluation = dataclasses.replace(
        trial.variant.evaluation,
        scale=(max(size), min(size)),
        window=size,
        stride=size,
        multi_scale_ratios=(1.0,),
    )
    return dataclasses.replace(trial, variant=dataclasses.replace(trial.variant, evaluation=evaluation))


def expected_matrix(trial: Trial, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """Return the confusion matrix of `Colours` on the first image, without the library's prediction."""
    image, label = read_pair(Shards(trial.workspace.data_dir, "val"), 0)
    pixels = (torch.from_numpy(image).float() - torch.tensor(mean)) / torch.tensor(std)
    prediction = Colours()(pixels.permute(2, 0, 1)[None]).argmax(1)[0].numpy()
    return confusion_matrix(prediction, label, num_classes=8, ignore_label=IGNORE_LABEL)


def test_scoring_uses_the_image_statistics_of_the_run(trial: Trial) -> None:
    """Single scale, both flips of one scale, and the validation in a training; rounding may flip a tie."""
    trial = at_original_size(trial)
    recipe, shards, model = trial.variant.recipe, Shards(trial.workspace.data_dir, "val"), Colours().eval()
    expected = expected_matrix(trial, recipe.image_mean, recipe.image_std)
    tolerance = 1e-3 * expected.sum()
    assert np.abs(expected - expected_matrix(trial, IMAGENET_MEAN, IMAGENET_STD)).sum() > 100 * tolerance
    tally = tally_shards(model, shards, trial.variant, [0])
    in_training = confusion_of_shards(model, shards, trial.variant, [0])
    for matrix in (tally.single_scale, tally.multi_scale, in_training):
        assert np.abs(matrix - expected).sum() <= tolerance


def test_the_matrices_of_the_images_add_up_to_the_scores(trial: Trial) -> None:
    model, variant = build(trial.variant).eval(), trial.variant
    data_dir = Path(trial.workspace.data_dir)
    scores = json.loads(json.dumps(score_network(model, variant, data_dir), allow_nan=False))
    images = unpack(scores["confusion_per_image"], scores["num_images"], variant.data.num_classes)
    matrix = np.zeros((8, 8), np.int64)
    np.add.at(matrix, (images.labels, images.predictions), images.counts)
    assert {name: scores[name] for name in mean_scores(matrix)} == mean_scores(matrix)
    shards = Shards(data_dir, "val")
    tally = tally_shards(model, shards, variant, range(len(shards)))
    np.testing.assert_array_equal(tally.single_scale, matrix)
    boundary = [None if union == 0 else part / union for part, union in tally.boundary.T]
    assert scores["boundary_iou_per_class"] == boundary
    assert scores["boundary_iou"] == pytest.approx(np.mean([iou for iou in boundary if iou is not None]))


def test_a_score_without_pixels_is_null(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """All classes far from any border: there is no boundary to score."""
    monkeypatch.setattr(score, "boundary_counts", lambda *_, **__: np.zeros((2, 8), np.int64))
    scores = score_network(build(trial.variant).eval(), trial.variant, Path(trial.workspace.data_dir))
    assert (scores["boundary_iou"], scores["boundary_iou_per_class"]) == (None, [None] * 8)


def test_a_result_is_valid_for_one_run_and_one_setting(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(trial.workspace.run_dir).mkdir()
    save_model(build(trial.variant), trial.workspace.run_dir)
    trial.write_record({}, git_commit=None)
    assert not is_scored(trial)
    result = score_run(trial, torch.device("cpu"))
    assert result["run_fingerprint"] == trial.fingerprint and result["num_images"] == 4
    result_path(trial).parent.mkdir(parents=True)
    result_path(trial).write_text(json.dumps(result))
    assert is_scored(trial)
    assert not is_scored(dataclasses.replace(trial, seed=0, variant=at_original_size(trial).variant))
    result_path(trial).write_text(json.dumps({**result, "fingerprint": "of another run"}))
    assert not is_scored(trial)
    result_path(trial).write_text("{")
    assert not is_scored(trial)
