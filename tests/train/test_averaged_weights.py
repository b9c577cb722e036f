"""Averaged weights, and all options of fine-tuning together: after a crash, and with two workers."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_comparison import assert_same_run, crash_at, weights
from torch import nn
from workers import train_together

from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial
from regproxy.train.average import start_average, update_average
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end

MakeTrial = Callable[..., Trial]
ALL = {
    "class_weights": {"car": 2.0},
    "ohem_threshold": 0.5,
    "dice_weight": 0.5,
    "backbone_lr_factor": 0.5,
    "head_lr_factor": 2.0,
    "layer_decay": 0.8,
    "clip_gradient": 0.01,
    "ema_decay": 0.9,
}


def losses(trial: Trial) -> list[float]:
    entries = read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")
    return [entry["loss"] for entry in entries]


def test_the_average_follows_its_closed_form() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = start_average(model)
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    for step in range(30):
        model(torch.randn(4, 2))  # moves the statistics of batch norm
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        update_average(average, model, 0.6, step)
        kept = min(0.6, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            whole = not tensor.is_floating_point()
            expected[name] = tensor.clone() if whole else kept * expected[name] + (1 - kept) * tensor
    assert not average.training
    for name, tensor in average.state_dict().items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_the_averaged_weights_are_validated_and_saved(make_trial: MakeTrial) -> None:
    """The average moves no weight: the losses stay. Without warm-up and decay it is the weights."""
    changes = {"log_every": 1, "validate_every": 4}
    plain = make_trial(run="plain", **changes)
    same, averaged = (make_trial(run=f"{decay}", ema_decay=decay, **changes) for decay in (0.0, 0.9))
    for trial in (plain, same, averaged):
        run_to_end(train(trial, Context()))
    assert losses(plain) == losses(same) == losses(averaged)
    assert_same_run(plain, same)
    assert not torch.equal(weights(plain)["classifier.weight"], weights(averaged)["classifier.weight"])
    scores = [
        [entry.get("val_miou") for entry in read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")]
        for trial in (plain, averaged)
    ]
    assert scores[0] != scores[1]


@pytest.mark.parametrize("changes", [ALL, {"freeze": True, "ema_decay": 0.9}], ids=["all", "frozen"])
def test_a_crashed_training_ends_in_the_same_bits(make_trial: MakeTrial, changes: dict) -> None:
    changes = {**changes, "log_every": 1, "checkpoint_every": 3, "validate_every": 4}
    whole, crashed = make_trial(run="whole", **changes), make_trial(run="crashed", **changes)
    run_to_end(train(whole, Context()))
    for step in (2, 5, 7):
        crash_at(train(crashed, Context()), step)
    assert run_to_end(train(crashed, Context()))["resumed_at_step"] == 6
    assert_same_run(whole, crashed)


@pytest.mark.parametrize("changes", [ALL, {"freeze": True, "ema_decay": 0.9}], ids=["all", "frozen"])
def test_two_workers_train_like_one(make_trial: MakeTrial, changes: dict) -> None:
    changes = {**changes, "drop_path": 0.0, "log_every": 1, "precision": "float32"}
    one, two = make_trial(run="one", **changes), make_trial(run="two", **changes)
    run_to_end(train(one, Context()))
    train_together(two, 2)
    assert losses(two) == pytest.approx(losses(one), rel=2e-4)
    for name, tensor in weights(one).items():
        torch.testing.assert_close(weights(two)[name], tensor, rtol=0, atol=2e-4)
