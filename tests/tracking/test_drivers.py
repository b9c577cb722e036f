"""Runs in MLflow that a killed driver left, and the load of the driver's machine."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from shown_runs import Shown

from pipelines.tracking.host_metrics import HostMetrics
from pipelines.tracking.state import TrialState
from pipelines.tracking.store import MlflowStore
from pipelines.tracking.sync import sync
from pipelines.tracking.uploader import Uploader
from regproxy.runs.trial import Trial
from regproxy.storage.lock import profile_lock
from regproxy.train.progress import Progress

pytestmark = pytest.mark.usefixtures("quick")


@pytest.mark.parametrize("error", [None, "Traceback\nOutOfMemoryError: of the GPU\n"])
def test_the_next_driver_ends_what_a_killed_one_left(
    new_trial: Trial, shown: Shown, monkeypatch: pytest.MonkeyPatch, error: str | None
) -> None:
    run_dir = Path(new_trial.workspace.run_dir)
    run_dir.mkdir(parents=True)
    lines = [{"step": 0, "started": 1000.0}, {"step": 2, "time": 1060.5, "loss": 2.0}]
    run_dir.joinpath("metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if error:
        run_dir.joinpath("error.log").write_text(error)
    store = MlflowStore("smoke")
    store.update(TrialState(new_trial, "RUNNING", ["a"], 1000.0, points=[Progress(0, 8, started=1000.0)]))
    assert shown.seed().info.status == "RUNNING"

    with Uploader("smoke") as uploader:
        uploader.add_missing(new_trial)
    run = shown.seed()
    assert run.info.status == shown.variant().info.status == ("FAILED" if error else "KILLED")
    assert run.info.end_time == 1060_500, "the last sign of the training"
    assert shown.points(run) == [(2, 1060_500)]
    assert run.data.tags.get("error") == (error and "OutOfMemoryError: of the GPU")


def test_sync_leaves_a_profile_alone_that_is_being_trained(
    new_trial: Trial, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tracking.sync.load_profile", lambda name: name)
    monkeypatch.setattr("pipelines.tracking.sync.all_trials", lambda profile: [new_trial])
    MlflowStore("smoke").update(TrialState(new_trial, "RUNNING", ["a"], 1000.0))
    with profile_lock("smoke"):
        sync("smoke")
        assert shown.seed().info.status == "RUNNING"
    sync("smoke")
    assert shown.seed().info.status == "KILLED"


def test_the_load_of_this_machine_is_shown_with_trials_that_train_here(
    new_trial: Trial, shown: Shown, wait_for: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.tracking.host_metrics._INTERVAL_S", 0.0)
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    there = replace(new_trial, seed=1)
    with Uploader("smoke") as uploader:
        uploader.progress(there, ["elsewhere"], Progress(0, 8, started=1000.0))
        uploader.progress(new_trial, ["here"], Progress(0, 8, started=1000.0))
        wait_for(
            lambda: (
                len(shown.runs()) == 3 and "system/cpu_utilization_percentage" in shown.seed(0).data.metrics
            )
        )
    metrics = shown.seed(0).data.metrics
    assert 0 < metrics["system/system_memory_usage_percentage"] <= 100
    assert HostMetrics().sample().keys() == {name for name in metrics if name.startswith("system/")}
    assert not shown.seed(1).data.metrics
