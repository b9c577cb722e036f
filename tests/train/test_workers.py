"""Several workers: the curve of one, every validation image once, one common step to stop at."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from workers import train_together

from regproxy.data.shards import Shards
from regproxy.model.build import build
from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial
from regproxy.train import validation
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.stop import Stopped

MakeTrial = Callable[..., Trial]


def curve(trial: Trial) -> list[dict[str, float]]:
    entries = read_history(Path(trial.run_dir) / "metrics.jsonl")
    return [{key: value for key, value in entry.items() if key != "images_per_second"} for entry in entries]


def assert_same_run(one: Trial, two: Trial) -> None:
    first, second = (load_file(Path(trial.run_dir) / "model.safetensors") for trial in (one, two))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())
    assert curve(one) == curve(two)


def test_curves_of_one_two_and_four_workers_agree(make_trial: MakeTrial) -> None:
    """Each with the micro-batches that make up for the workers it lacks."""
    curves = {}
    for workers in (1, 2, 4):
        trial = make_trial(
            "linear",
            run=f"{workers}",
            drop_path=0.0,
            log_every=1,
            batch_size=8,
            grad_accum_steps=4 // workers,
        )
        if workers == 1:
            train(trial, Context())
        else:
            train_together(trial, workers)
        assert trial.finished_record()["workers"] == workers
        curves[workers] = [entry["loss"] for entry in curve(trial)]
    assert len(curves[1]) == 8
    for workers in (2, 4):
        assert curves[workers] == pytest.approx(curves[1], rel=1e-5)


@pytest.mark.parametrize("workers", [2, 3, 4, 7])
def test_validation_counts_each_image_once(
    make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    trial = make_trial()
    torch.manual_seed(0)
    model = build(trial.variant)
    seen: list[int] = []
    matrices: list[torch.Tensor] = []

    class OneOfMany:
        device = torch.device("cpu")
        world_size = workers

        def __init__(self, rank: int) -> None:
            self.rank = rank

        def stopping(self) -> bool:
            return False

        def anyone(self, told: bool) -> bool:
            return told

        def sum(self, matrix: torch.Tensor) -> torch.Tensor:
            matrices.append(matrix)
            return matrix

    count = validation.confusion_of_shards

    def counting(model, shards, variant, indices):
        seen.extend(indices)
        return count(model, shards, variant, indices)

    monkeypatch.setattr(validation, "confusion_of_shards", counting)
    for rank in range(workers):
        validation.validation_miou(model, trial, OneOfMany(rank))
    shards = Shards(Path(trial.data_dir), "val")
    assert sorted(seen) == list(range(len(shards)))
    whole = count(model.eval(), shards, trial.variant, range(len(shards)))
    assert np.array_equal(torch.stack(matrices).sum(0).numpy(), whole)


@pytest.mark.parametrize("told", [3, 4, 5, 7])
def test_stopped_training_ends_in_the_same_bits(make_trial: MakeTrial, told: int) -> None:
    """At a step with a report and at one between two; the curve does not show where it stopped."""
    changes = {"log_every": 2, "checkpoint_every": 6}
    whole, stopped = make_trial(run="whole", **changes), make_trial(run="stopped", **changes)
    train(whole, Context())
    asked = 0

    def stopping() -> bool:
        nonlocal asked
        asked += 1
        return asked == told

    with pytest.raises(Stopped, match=f"after step {told}"):
        train(stopped, Context(stopping=stopping))
    begun: list[int] = []
    train(stopped, Context(begin=begun.append))
    assert begun == [told]
    assert_same_run(whole, stopped)


def test_training_told_to_stop_while_it_validates_validates_later(make_trial: MakeTrial) -> None:
    """Told right before, in the midst of and again while it catches up: each time a checkpoint, then the
    same bits."""
    changes = {"log_every": 3, "checkpoint_every": 100, "validate_every": 4}
    whole, stopped = make_trial(run="whole", **changes), make_trial(run="stopped", **changes)
    train(whole, Context())
    path = Path(stopped.run_dir) / "metrics.jsonl"
    starts = [  # so many times it asks before it is told; where it has begun and stopped
        (4, 0, 4),  # after step 4, instead of scoring
        (2, 4, 4),  # at the second image
        (4 + 4 + 2, 4, 8),  # caught up, four steps more, at the second image of the last validation
    ]
    for asks, begun, step in starts:
        asked: list[bool] = []

        def stopping(asks: int = asks, asked: list[bool] = asked) -> bool:
            asked.append(True)
            return len(asked) == asks

        seen: list[int] = []
        with pytest.raises(Stopped, match=f"after step {step}"):
            train(stopped, Context(stopping=stopping, begin=seen.append))
        assert seen == [begun]
        assert all("val_miou" not in entry for entry in read_history(path) if entry["step"] >= step)
    record = train(stopped, Context())
    assert record["resumed_at_step"] == 8 and math.isfinite(record["final_loss"])
    assert_same_run(whole, stopped)
    assert record["final_loss"] == whole.finished_record()["final_loss"]


def test_drop_path_is_that_of_the_whole_batch_cut_in_the_same_places(make_trial: MakeTrial) -> None:
    curves = []
    for workers in (1, 2):
        trial = make_trial(
            "linear", run=f"{workers}", drop_path=0.5, log_every=1, grad_accum_steps=2 // workers
        )
        train(trial, Context()) if workers == 1 else train_together(trial, workers)
        curves.append([entry["loss"] for entry in curve(trial)])
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)


@pytest.mark.soak
def test_workers_stop_after_the_same_step(make_trial: MakeTrial) -> None:
    """One of two is told: both stop a step later, with one checkpoint, and end in the same bits."""
    whole, stopped = make_trial(run="whole"), make_trial(run="stopped")
    assert train_together(whole, 2) == [None, None]
    assert train_together(stopped, 2, told=2) == [3, 3]
    assert train_together(stopped, 2) == [None, None]
    assert stopped.finished_record()["resumed_at_step"] == 3
    assert_same_run(stopped, whole)
