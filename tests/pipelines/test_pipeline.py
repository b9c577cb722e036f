"""The whole pipeline: `dvc repro` of the smoke profile, a failing trial, a kill, two Ray Train workers."""

import csv
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import yaml
from project_copy import copy_project, environment, tool
from repro_in_mlflow import check_complete, check_ends

from pipelines.ablate import all_trials
from pipelines.cluster.display import Observer
from pipelines.cluster.session import ray_session
from pipelines.cluster.trials import run_trials
from regproxy.config.profile import Resources
from regproxy.config.profile_file import load_profile
from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("project"), "smoke")


def repro(project: Path) -> subprocess.CompletedProcess:
    command = [tool("dvc"), "repro"]
    return subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True)


def run_records(project: Path) -> dict[str, dict]:
    files = sorted(project.glob("runs/smoke/*/*/*/run.json"))
    return {file.parent.relative_to(project).as_posix(): json.loads(file.read_text()) for file in files}


def edit_profile(project: Path, **changes: object) -> None:
    path = project / "pipelines/profiles/smoke.yaml"
    content = yaml.safe_load(path.read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        section = content
        for key in parents:
            section = section[key]
        section[last] = value
    path.write_text(yaml.safe_dump(content))


def test_repro_runs_everything_once(project: Path) -> None:
    """In this order: a first run, an unchanged run, one more seed with a kill, a trial that fails."""
    first = repro(project)
    assert first.returncode == 0, first.stdout + first.stderr
    records = run_records(project)
    assert len(records) == 2 * 2 * 2
    check_results(project)
    check_search(project)
    check_report(project)
    check_complete(project)

    again = repro(project)
    assert again.returncode == 0
    assert "Data and pipelines are up to date." in again.stdout
    assert run_records(project) == records

    edit_profile(project, seeds=[0, 1, 2])
    kill_during_ablate(project)
    resumed = repro(project)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    after = run_records(project)
    assert len(after) == 2 * 2 * 3
    for name, record in records.items():
        assert after[name] == record, "a finished trial was trained again"

    edit_profile(
        project, variants__doomed={"arch": "Smoke/16", "head": "linear", "recipe": {"learning_rate": 1.0e30}}
    )
    failed = repro(project)
    assert failed.returncode != 0
    assert "trial ade20k/doomed/0 failed: the loss is" in failed.stderr
    check_ends(project)
    assert run_records(project) == after


def check_results(project: Path) -> None:
    results = [json.loads(path.read_text()) for path in project.glob("results/smoke/*/*/*.json")]
    assert len(results) == 8
    for result in results:
        assert 0 <= result["miou"] <= 1
        assert len(result["iou_per_class"]) == len(result["classes"]) == 8
        assert result["num_images"] == 4
        assert 0 <= result["multi_scale"]["miou"] <= 1
        assert 0 <= result["boundary_iou"] <= 1 and len(result["boundary_iou_per_class"]) == 8
        regproxy = result["variant"] == "region-4x4"
        assert (result["region_entropy"] is not None) == regproxy
        assert not regproxy or 0 < result["region_entropy"] < 2.08  # the logarithm of its eight classes


def check_search(project: Path) -> None:
    result = json.loads((project / "search/smoke/result.json").read_text())
    (trials,) = [found["trials"] for found in result["datasets"].values()]
    assert [trial["number"] for trial in trials] == [0, 1]
    assert all(0 <= trial["val_miou"] <= 1 and trial["steps"] for trial in trials)
    assert not list(project.glob("search/smoke/*/*/checkpoints"))


def check_report(project: Path) -> None:
    report = project / "reports/smoke"
    text = (report / "tables.md").read_text()
    assert "RegProxy 4x4" in text and "Boundary IoU" in text and "Region entropy" in text
    assert "\\toprule" in (report / "tables.tex").read_text()
    with (report / "tables.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["variant"], row["dataset"]) for row in rows} == {
        (variant, data) for variant in ("linear", "region-4x4") for data in ("ade20k", "cityscapes")
    }
    assert all(row["median"] for row in rows)
    assert "## Search" in text and (report / "figures/search.svg").exists()
    assert len(list((report / "figures").glob("*.png"))) >= 2


def kill_during_ablate(project: Path) -> None:
    """Start `dvc repro` and send SIGKILL to all its processes after the first new trial has finished."""
    process = subprocess.Popen(
        [tool("dvc"), "repro"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    before, deadline = len(run_records(project)), time.monotonic() + 120
    while len(run_records(project)) == before and time.monotonic() < deadline:
        assert process.poll() is None, "dvc repro ended before it could be killed"
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    shutil.rmtree(project / ".dvc/tmp/lock", ignore_errors=True)


class Ends(Observer):
    def __init__(self, ends: list[tuple[int, str | None]]) -> None:
        self._ends = ends

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        self._ends.append((index, error))


def test_two_workers_train_like_one(make_trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two workers of a Ray Train run have the losses of one worker, to 1e-5 relative."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # for Ray's workers in another folder
    monkeypatch.chdir(tmp_path)
    trials: dict[int, Trial] = {}
    ends: list[tuple[int, str | None]] = []
    with ray_session():
        for workers in (1, 2):
            trials[workers] = make_trial(
                run=f"workers-{workers}", drop_path=0.0, log_every=1, checkpoint_every=5
            )
            run_trials(
                [trials[workers]],
                Resources(workers=workers),
                observer=Ends(ends),
            )
    assert ends == [(0, None), (0, None)]
    curves = {w: read_history(Path(trial.workspace.run_dir) / "metrics.jsonl") for w, trial in trials.items()}
    assert [e["loss"] for e in curves[2]] == pytest.approx([e["loss"] for e in curves[1]], rel=1e-5)
    assert curves[2][-1]["val_miou"] == pytest.approx(curves[1][-1]["val_miou"], abs=0.02)
    assert trials[2].finished_record()["workers"] == 2


def test_every_trial_has_its_own_run_folder() -> None:
    trials = all_trials(load_profile("smoke"))
    assert len({trial.workspace.run_dir for trial in trials}) == len(trials)
