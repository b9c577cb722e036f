"""Where MLflow keeps experiments and files: deleted ones, a moved checkout, the report."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow_server import mlflow_server
from shown_runs import Shown

from pipelines.tracking.uploader import Uploader
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress


def test_a_deleted_experiment_is_restored(
    trial: Trial, shown: Shown, capfd: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        with Uploader("smoke") as uploader:
            uploader.add_run(trial)
        assert not uploader.failed
        run = shown.seed()
        shown.client.delete_experiment(run.info.experiment_id)
    err = capfd.readouterr().err
    assert err.count("warning: experiment smoke/ade20k had been deleted in MLflow") == 1


def test_a_deleted_run_is_stored_again(trial: Trial, shown: Shown) -> None:
    for _ in range(2):
        with Uploader("smoke") as uploader:
            uploader.add_run(trial)
        assert not uploader.failed
        seed = shown.seed()
        assert seed.info.status == "FINISHED"
        assert seed.data.tags["mlflow.parentRunId"] == shown.variant().info.run_id
        shown.client.delete_run(seed.info.run_id)
        shown.client.delete_run(shown.variant().info.run_id)


def test_the_report_is_one_run_that_is_updated_in_place(folder: Path, shown: Shown) -> None:
    for text in ("first", "second", "second"):
        (folder / "reports/figures").mkdir(parents=True, exist_ok=True)
        (folder / "reports/figures/curve.png").write_bytes(b"picture")
        (folder / "reports/report.html").write_text(text)
        with Uploader("smoke") as uploader:
            uploader.add_report(Path("reports"))
        assert not uploader.failed
        (run,) = shown.runs()
        assert (run.info.run_name, run.info.status) == ("report", "FINISHED")
        files = folder / "mlartifacts/smoke" / run.info.run_id / "artifacts"
        assert (files / "report.html").read_text() == text
        assert (files / "figures/curve.png").exists()
    assert shown.client.get_experiment(run.info.experiment_id).name == "smoke"


def test_an_experiment_of_an_earlier_version_keeps_its_place(
    trial: Trial, shown: Shown, tmp_path: Path
) -> None:
    """Earlier versions stored files at an absolute location."""
    place = tmp_path / "earlier"
    shown.client.create_experiment("smoke/ade20k", place.as_uri())
    with Uploader("smoke") as uploader:
        uploader.add_run(trial)
    assert not uploader.failed
    assert (place / shown.seed().info.run_id / "artifacts/run.json").exists()


@pytest.mark.soak
def test_files_of_a_moved_folder_are_shown(
    trial: Trial, shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = tmp_path / "old", tmp_path / "new folder"
    old.mkdir()
    shutil.move("mlflow.db", old)
    monkeypatch.chdir(old)
    with Uploader("smoke") as uploader:
        uploader.add_run(trial)
    run = shown.seed().info.run_id
    os.chdir(tmp_path)
    old.rename(new)
    with mlflow_server(new) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        names = sorted(file.path for file in shown.client.list_artifacts(run))
        assert names == ["model.safetensors", "run.json"]
        copy = Path(shown.client.download_artifacts(run, "run.json", str(tmp_path)))
    assert copy.read_bytes() == Path(trial.workspace.run_dir, "run.json").read_bytes()


@pytest.mark.soak
@pytest.mark.usefixtures("quick")
def test_a_server_that_comes_back_gets_what_it_missed(
    trial: Trial, shown: Shown, tmp_path: Path, wait_for: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = [Progress(step, 8, 2.0, 1e-3, 5.0, time=1000.0 + step, started=1000.0) for step in range(1, 4)]
    with contextlib.ExitStack() as stack:
        with mlflow_server(tmp_path) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            uploader = stack.enter_context(Uploader("smoke"))
            uploader.progress(trial, ["a"], reports[0])
            wait_for(lambda: len(shown.runs()) == 2 and shown.points(shown.seed()))
        uploader.progress(trial, ["a"], reports[1])
        wait_for(lambda: uploader.failed)
        with mlflow_server(tmp_path, port=int(address.rsplit(":", 1)[1])):
            uploader.progress(trial, ["a"], reports[2])
            wait_for(lambda: len(shown.points(shown.seed())) == 3)
            assert shown.points(shown.seed()) == [(step, 1000_000 + 1000 * step) for step in range(1, 4)]
            uploader.ended(trial, "out of memory")
            wait_for(lambda: shown.seed().info.status == "FAILED")
            stack.close()
            assert not uploader.failed
