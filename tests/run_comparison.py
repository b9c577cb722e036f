"""Compare two finished runs bit for bit, and let a training crash."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial
from regproxy.train.progress import Training


def weights(trial: Trial) -> dict[str, torch.Tensor]:
    """Return the trained weights of a finished trial by name."""
    return load_file(Path(trial.workspace.run_dir) / "model.safetensors")


def assert_same_run(one: Trial, two: Trial) -> None:
    """Assert equal weights and equal curves; only the measured speed may differ."""
    first, second = weights(one), weights(two)
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name
    curves = [read_history(Path(trial.workspace.run_dir) / "metrics.jsonl") for trial in (one, two)]
    for entry in (entry for curve in curves for entry in curve):
        del entry["images_per_second"]
    assert curves[0] == curves[1]


def crash_at(training: Training, step: int) -> None:
    """Run a training until it reports `step`, then let it fail there, which saves no checkpoint."""
    with pytest.raises(KeyboardInterrupt):
        for progress in training:
            if progress.step == step:
                training.throw(KeyboardInterrupt)
