"""A finished trial for the tests of MLflow uploads."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train


@pytest.fixture(scope="session")
def trained() -> dict[str, Path]:
    """The folder of the run under "run", once a test has trained it."""
    return {}


@pytest.fixture
def trial(make_trial: Callable[..., Trial], trained: dict, tmp_path: Path, monkeypatch) -> Trial:
    """A finished smoke trial, trained once for all tests; the working directory is temporary."""
    monkeypatch.chdir(tmp_path)
    trial = make_trial(log_every=2)
    if "run" in trained:
        shutil.copytree(trained["run"], trial.workspace.run_dir)
    else:
        list(train(trial, Context()))
        trained["run"] = tmp_path / "kept"
        shutil.copytree(trial.workspace.run_dir, trained["run"])
    assert trial.finished_record()
    return trial
