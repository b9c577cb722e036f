"""A finished trial, an empty database and what MLflow holds, for the tests of MLflow uploads."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from shown_runs import Shown

from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train


@pytest.fixture(scope="session")
def trained() -> dict[str, Path]:
    """The folder of the run under "run", once a test has trained it."""
    return {}


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; MLflow takes seconds to create one."""
    file = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}")
    return file


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, temporary, with an empty MLflow database."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def new_trial(make_trial: Callable[..., Trial], folder: Path) -> Trial:
    """A trial that has not been trained; it reports after 2, 4, 6 and 8 steps and saves after 4."""
    return make_trial(log_every=2, checkpoint_every=4)


@pytest.fixture
def trial(make_trial: Callable[..., Trial], trained: dict, folder: Path) -> Trial:
    """A finished smoke trial, trained once for all tests."""
    trial = make_trial(log_every=2)
    if "run" in trained:
        shutil.copytree(trained["run"], trial.workspace.run_dir)
    else:
        list(train(trial, Context()))
        trained["run"] = folder / "kept"
        shutil.copytree(trial.workspace.run_dir, trained["run"])
    assert trial.finished_record()
    return trial


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def wait_for() -> Callable[[Callable[[], object]], None]:
    """Returns a function that waits until a condition holds; half a minute at most."""

    def wait(condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return wait


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uploads and retries follow each other without a pause."""
    monkeypatch.setattr("pipelines.tracking.uploader._INTERVAL_S", 0.1)
    monkeypatch.setattr("pipelines.tracking.uploader._RETRY_INTERVAL_S", 0.1)


@pytest.fixture
def result() -> dict[str, Any]:
    """A result record."""
    return {
        "fingerprint": "of the score",
        "miou": 0.5,
        "pixel_accuracy": 0.75,
        "mean_accuracy": 0.625,
        "classes": ["road", "sky"],
        "iou_per_class": [0.5, None],
        "scored": "2026-01-02T03:04:05.678+00:00",
    }
