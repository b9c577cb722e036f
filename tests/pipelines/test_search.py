"""The stage `search` with real trainings: a planted optimum, a kill, and trials that are stopped early."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines.cluster.display import Observer
from pipelines.cluster.search_trials import EarlyStopping
from pipelines.cluster.session import ray_session
from pipelines.cluster.trials import run_trials
from regproxy.config.profile import Resources
from regproxy.config.profile_file import load_profile, profile_path
from regproxy.runs.search_run import SearchRun
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

ROOT = Path(__file__).parents[2]
GOOD, TOO_LOW, DIVERGES = 3.0e-2, 1.0e-8, 1.0e30  # learning rates; only the first one trains


@pytest.fixture
def project(tmp_path: Path, smoke_data: dict[str, Path]) -> Path:
    """Return a working directory with the smoke profile's data and a search over three learning rates."""
    content = yaml.safe_load((ROOT / profile_path("smoke")).read_text())
    content["recipe"] |= {"steps": 24, "warmup_steps": 0, "checkpoint_every": 2}
    content["search"] = {
        "variant": "region-4x4",
        "datasets": ["ade20k"],
        "trials": 5,
        "seed": 4,  # draws DIVERGES, GOOD, TOO_LOW, TOO_LOW, GOOD
        "space": {"learning_rate": {"choices": [TOO_LOW, GOOD, DIVERGES]}},
    }
    path = tmp_path / profile_path("smoke")
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(content))
    (tmp_path / "data/prepared").mkdir(parents=True)
    (tmp_path / "data/prepared/smoke").symlink_to(smoke_data["ade20k"].parent)
    return tmp_path


def start(project: Path) -> subprocess.Popen:
    """Start the stage in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.search", "smoke"],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def records(project: Path) -> dict[int, dict]:
    files = project.glob("search/smoke/ade20k/*/trial.json")
    return {int(file.parent.name): json.loads(file.read_text()) for file in files}


def kill_after_first_end(project: Path) -> dict[int, dict]:
    """Start the stage, kill it when a trial has finished, and return the records of that moment."""
    process, deadline = start(project), time.monotonic() + 180
    while not any(record["state"] == "finished" for record in records(project).values()):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return records(project)


@pytest.mark.integration
def test_a_killed_search_continues_and_finds_the_learning_rate_that_trains(project: Path) -> None:
    before = kill_after_first_end(project)
    assert not (project / "search/smoke/result.json").exists()
    ended = [number for number, record in before.items() if record["state"] != "started"]
    process = start(project)
    output = process.communicate()[0]
    assert process.returncode == 0, output
    after = records(project)
    assert {number: after[number] for number in ended} == {number: before[number] for number in ended}
    assert all(after[number]["values"] == record["values"] for number, record in before.items())

    result = json.loads((project / "search/smoke/result.json").read_text())["datasets"]["ade20k"]
    assert result["trials"] == [after[number] for number in range(5)]
    by_rate = {trial["values"]["learning_rate"]: trial for trial in result["trials"]}
    assert by_rate.keys() == {TOO_LOW, GOOD, DIVERGES}
    assert result["best"] == min(t["number"] for t in after.values() if t["values"]["learning_rate"] == GOOD)
    assert by_rate[GOOD]["val_miou"] > by_rate[TOO_LOW]["val_miou"] + 0.02
    assert by_rate[GOOD]["steps"] == 24 and [step for step, _ in by_rate[GOOD]["validations"]] == [8, 16, 24]
    assert by_rate[DIVERGES]["state"] == "failed" and "loss" in by_rate[DIVERGES]["error"]
    lines = yaml.safe_load(result["profile_lines"])["variants"]["region-4x4"]
    assert lines == {"by_dataset": {"ade20k": {"recipe": {"learning_rate": GOOD}}}}
    assert result["profile_lines"] in output
    assert not list(project.glob("search/smoke/ade20k/*/model.safetensors")), "a search keeps no weights"


class Events(Observer):
    def __init__(self) -> None:
        self.ends: list[tuple[int, str | None]] = []
        self.steps = 0

    def running(self, index: int, hosts: list[str], progress: Progress | None) -> None:
        self.steps = max(self.steps, progress.step if progress else 0)

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        self.ends.append((index, error))


@pytest.mark.parametrize(
    "workers",
    [pytest.param(1, marks=pytest.mark.integration), pytest.param(2, marks=pytest.mark.soak)],
)
def test_a_bad_trial_stops_at_its_first_validation(
    make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workers: int
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))  # for Ray's workers, because the folder is another one
    monkeypatch.chdir(tmp_path)
    early_stopping = EarlyStopping([1], first=8, last=400)
    early_stopping.replay(0, [(8, 0.99), (16, 0.99)])
    trial, events = make_trial(steps=400, validate_every=8, log_every=1), Events()
    with ray_session():
        run_trials(
            [trial],
            Resources(workers=workers),
            observer=events,
            values=lambda index: {"drop_path": 0.0},
            early_stopping=early_stopping,
        )
    assert events.ends == [(0, None)]
    assert 8 < events.steps < 40
    assert not (Path(trial.workspace.run_dir) / "run.json").exists()


def test_validations_before_an_interruption_count(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    profile = load_profile("smoke")
    (variant,) = profile.search.starts(profile.variants)
    run = SearchRun(profile, variant)
    run.begin(0, lambda *_: {"learning_rate": GOOD})
    run.validated(0, 8, 0.5)
    again = SearchRun(profile, variant)
    pending = again.pending(retry_failed=False)
    assert pending == [0, 1, 2, 3, 4]
    assert EarlyStopping.of(again, pending).stops(1, 8, 0.4)


def test_a_trial_stops_below_the_median_of_a_rung() -> None:
    early_stopping = EarlyStopping([0, 1, 2, 3], first=10, last=40)
    assert not early_stopping.stops(0, 10, 0.3)  # the first at a rung
    assert early_stopping.stops(1, 10, 0.2)
    assert not early_stopping.stops(2, 10, 0.4)
    assert not early_stopping.stops(2, 20, 0.1)  # the first at the next rung
    assert not early_stopping.stops(0, 20, 0.3)
    assert not early_stopping.stops(0, 30, 0.0)  # no rung
    assert early_stopping.stops(3, 20, 0.15)
