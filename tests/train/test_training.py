"""The loop: it learns, repeats to the bit, resumes to the same bits after a kill, and fails clearly."""

import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_comparison import assert_same_run, crash_at, weights

from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import Progress, run_to_end
from regproxy.train.step import NonFiniteLossError

MakeTrial = Callable[..., Trial]


def test_training_leaves_a_record_and_no_checkpoints(make_trial: MakeTrial) -> None:
    trial, seen = make_trial(), []
    record = run_to_end(train(trial, Context()), seen.append)
    run_dir = Path(trial.workspace.run_dir)
    assert sorted(path.name for path in run_dir.iterdir()) == [
        "metrics.jsonl",
        "model.safetensors",
        "run.json",
    ]
    assert record == json.loads((run_dir / "run.json").read_text()) == trial.finished_record()
    assert record["variant"] == trial.variant.to_dict()
    reports = [(progress.step, progress.loss is not None, progress.val_miou is not None) for progress in seen]
    assert reports == [
        (0, False, False),
        (2, True, False),
        (4, True, False),
        (6, True, False),
        (8, True, False),
        (8, True, True),
    ]
    assert seen[-1].val_miou is not None
    assert seen[-1].seconds_left == 0


def test_training_learns(make_trial: MakeTrial) -> None:
    changes = {"drop_path": 0.0, "photometric": False, "learning_rate": 4.0e-3, "validate_every": None}
    trial = make_trial(steps=100, log_every=20, **changes)
    run_to_end(train(trial, Context()))
    losses = [entry["loss"] for entry in read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")]
    assert losses[-1] < 0.8 * losses[0]


def test_same_trial_same_bits(make_trial: MakeTrial) -> None:
    one, two, other = make_trial(run="one"), make_trial(run="two"), make_trial(run="other", seed=1)
    for trial in (one, two, other):
        run_to_end(train(trial, Context()))
    assert_same_run(one, two)
    assert any(not torch.equal(tensor, weights(other)[name]) for name, tensor in weights(one).items())


def test_loader_processes_change_nothing(make_trial: MakeTrial) -> None:
    here, apart = make_trial(run="here"), make_trial(run="apart", loader_workers=2)
    for trial in (here, apart):
        run_to_end(train(trial, Context()))
    assert_same_run(here, apart)


KILLED = """
import os, pickle, signal, sys, torch
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import Progress, run_to_end
torch.set_num_threads(1)
trial = pickle.load(open(sys.argv[1], "rb"))
def report(progress):
    if progress.step == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
run_to_end(train(trial, Context()), report)
"""


@pytest.mark.parametrize("steps", [[2], [4], [6], [5, 7]], ids=str)
def test_killed_training_ends_in_the_same_bits(
    make_trial: MakeTrial, tmp_path: Path, steps: list[int]
) -> None:
    """kill -9 before the first checkpoint, after one, right after saving one, and again after a resume."""
    changes = {"log_every": 1, "checkpoint_every": 3}
    whole, killed = make_trial(run="whole", **changes), make_trial(run="killed", **changes)
    run_to_end(train(whole, Context()))
    pickled = tmp_path / "trial.pickle"
    pickled.write_bytes(pickle.dumps(killed))
    for step in steps:
        process = subprocess.run([sys.executable, "-c", KILLED, str(pickled), str(step)])
        assert process.returncode == -9
        assert killed.finished_record() is None
    record = run_to_end(train(killed, Context()))
    assert record["resumed_at_step"] == steps[-1] // 3 * 3
    assert_same_run(whole, killed)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_broken_checkpoint_is_refused_and_the_one_before_used(make_trial: MakeTrial, damage: str) -> None:
    changes = {"log_every": 1, "checkpoint_every": 2}
    whole, broken = make_trial(run="whole", **changes), make_trial(run="broken", **changes)
    run_to_end(train(whole, Context()))
    crash_at(train(broken, Context()), 5)
    newest = Path(broken.workspace.run_dir) / "checkpoints" / "step-00000004"
    file = newest / "model.safetensors"
    if damage == "missing":
        (newest / "manifest.json").unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[:-100] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    reports: list[Progress] = []
    record = run_to_end(train(broken, Context()), reports.append)
    assert reports[0].step == 2
    assert f"{newest} cannot be used" in reports[0].notes[0]
    assert record["resumed_at_step"] == 2
    assert_same_run(whole, broken)


def test_checkpoint_of_another_recipe_is_not_continued(make_trial: MakeTrial) -> None:
    crash_at(train(make_trial(log_every=1, checkpoint_every=2), Context()), 5)
    changed = make_trial(log_every=1, checkpoint_every=2, learning_rate=5.0e-4)
    reports: list[Progress] = []
    assert run_to_end(train(changed, Context()), reports.append)["resumed_at_step"] == 0
    assert "another configuration" in reports[0].notes[0]


def test_fingerprint_follows_what_changes_a_weight(make_trial: MakeTrial) -> None:
    trial = make_trial()
    run_to_end(train(trial, Context()))
    assert make_trial().finished_record() is not None
    assert make_trial(seed=1).finished_record() is None
    assert make_trial(weight_decay=0.0).finished_record() is None


def test_non_finite_loss_stops_with_step_and_rate(make_trial: MakeTrial) -> None:
    trial = make_trial(learning_rate=1.0e30, checkpoint_every=1, warmup_steps=0)
    with pytest.raises(NonFiniteLossError, match=r"the loss is (nan|inf) at step \d with learning rate \d"):
        run_to_end(train(trial, Context()))
    assert trial.finished_record() is None


@pytest.mark.parametrize("loss_mean", ["all", "valid"])
def test_accumulated_micro_batches_are_the_whole_batch(make_trial: MakeTrial, loss_mean: str) -> None:
    """Without batch norm and drop path, the curve is the same whatever the split."""
    changes = {"drop_path": 0.0, "log_every": 1, "loss_mean": loss_mean}
    whole = make_trial("linear", run="whole", **changes)
    split = make_trial("linear", run="split", grad_accum_steps=2, **changes)
    for trial in (whole, split):
        run_to_end(train(trial, Context()))
    curves = [
        [entry["loss"] for entry in read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")]
        for trial in (whole, split)
    ]
    assert curves[0] == pytest.approx(curves[1], rel=1e-5)


def test_bf16_is_a_switch(make_trial: MakeTrial) -> None:
    exact, fast = make_trial(run="exact"), make_trial(run="fast", precision="bf16")
    losses = [run_to_end(train(trial, Context()))["final_loss"] for trial in (exact, fast)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
