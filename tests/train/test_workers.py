"""Several workers: the curve of one, every validation image once, one common step to stop at."""

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
from regproxy.train import loop, validation
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import Progress, run_to_end

MakeTrial = Callable[..., Trial]


def curve(trial: Trial) -> list[dict[str, float]]:
    entries = read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")
    return [{key: value for key, value in entry.items() if key != "images_per_second"} for entry in entries]


def assert_same_run(one: Trial, two: Trial) -> None:
    first, second = (load_file(Path(trial.workspace.run_dir) / "model.safetensors") for trial in (one, two))
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
            run_to_end(train(trial, Context()))
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

        def all_reduce(self, matrix: torch.Tensor) -> torch.Tensor:
            matrices.append(matrix)
            return matrix

    count = validation.confusion_of_shards

    def counting(model, shards, variant, indices):
        seen.extend(indices)
        return count(model, shards, variant, indices)

    monkeypatch.setattr(validation, "confusion_of_shards", counting)
    for rank in range(workers):
        validation.validation_miou(model, trial, OneOfMany(rank))
    shards = Shards(Path(trial.workspace.data_dir), "val")
    assert sorted(seen) == list(range(len(shards)))
    whole = count(model.eval(), shards, trial.variant, range(len(shards)))
    assert np.array_equal(torch.stack(matrices).sum(0).numpy(), whole)


def close_at(trial: Trial, step: int, *, validated: bool = False) -> list[Progress]:
    """Train until the report of `step` (or of its validation), close the training and return all reports."""
    reports = []
    training = train(trial, Context())
    for progress in training:
        reports.append(progress)
        if progress.step == step and (progress.val_miou is not None) == validated:
            training.close()
    return reports


@pytest.mark.parametrize("step", [0, 2, 4, 6])
def test_closed_training_ends_in_the_same_bits(make_trial: MakeTrial, step: int) -> None:
    """Close before the first step, between two checkpoints and at one; the curve does not show where."""
    changes = {"log_every": 2, "checkpoint_every": 6}
    whole, closed = make_trial(run="whole", **changes), make_trial(run="closed", **changes)
    run_to_end(train(whole, Context()))
    close_at(closed, step)
    resumed: list[Progress] = []
    run_to_end(train(closed, Context()), resumed.append)
    assert resumed[0].step == step
    assert_same_run(whole, closed)


def test_interrupted_validation_is_repeated(make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupt before, during and after a validation, also the last one: the same bits and curve."""
    changes = {"log_every": 3, "checkpoint_every": 100, "validate_every": 4}
    whole, stopped = make_trial(run="whole", **changes), make_trial(run="stopped", **changes)
    run_to_end(train(whole, Context()))
    path = Path(stopped.workspace.run_dir) / "metrics.jsonl"
    close_at(stopped, 4)
    assert all("val_miou" not in entry for entry in read_history(path))
    count = loop.validation_miou

    def fail(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "validation_miou", fail)
        run_to_end(train(stopped, Context()))
    assert all("val_miou" not in entry for entry in read_history(path))
    assert [report.step for report in close_at(stopped, 4, validated=True)] == [4, 4]
    calls = []

    def fail_later(*arguments: object) -> float:
        calls.append(arguments)
        return fail()

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop, "validation_miou", fail_later)
        run_to_end(train(stopped, Context()))
    assert len(calls) == 1 and loop.validation_miou is count
    record = run_to_end(train(stopped, Context()))
    assert record["resumed_at_step"] == 8
    assert_same_run(whole, stopped)
    assert record["final_loss"] == whole.finished_record()["final_loss"]


def test_drop_path_is_that_of_the_whole_batch_cut_in_the_same_places(make_trial: MakeTrial) -> None:
    curves = []
    for workers in (1, 2):
        trial = make_trial(
            "linear", run=f"{workers}", drop_path=0.5, log_every=1, grad_accum_steps=2 // workers
        )
        run_to_end(train(trial, Context())) if workers == 1 else train_together(trial, workers)
        curves.append([entry["loss"] for entry in curve(trial)])
    assert curves[1] == pytest.approx(curves[0], rel=1e-5)


@pytest.mark.soak
def test_closed_workers_resume_together(make_trial: MakeTrial) -> None:
    """Both close after the same step, leave one checkpoint and end in the same bits."""
    whole, closed = make_trial(run="whole"), make_trial(run="closed")
    assert train_together(whole, 2) == [None, None]
    assert train_together(closed, 2, close_after=3) == [4, 4]
    assert train_together(closed, 2) == [None, None]
    assert closed.finished_record()["resumed_at_step"] == 4
    assert_same_run(closed, whole)
