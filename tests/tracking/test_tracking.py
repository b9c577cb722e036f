"""Uploads to MLflow: whatever its server does, no stage waits or fails, nothing is lost or stored twice."""

import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from shown_runs import Shown

from pipelines.tracking.state import TrialState
from pipelines.tracking.store import MlflowStore
from pipelines.tracking.sync import main as sync
from pipelines.tracking.uploader import Uploader
from regproxy.errors import StorageError
from regproxy.runs.fingerprint import hash_json
from regproxy.runs.result import result_parts, result_path
from regproxy.runs.trial import Trial
from regproxy.storage.json_file import write_json


def check_complete(trial: Trial, shown: Shown) -> None:
    """Check for one run of the variant and one of the seed, each point once, files and scores."""
    assert [run.info.status for run in shown.runs()] == ["FINISHED"] * 2
    run = shown.seed()
    assert run.data.tags["regproxy.fingerprint"] == trial.fingerprint
    for curve in ("loss", "learning_rate"):
        assert [step for step, _ in shown.points(run, curve)] == [2, 4, 6, 8]
    assert len(shown.points(run, "miou")) == len(shown.points(shown.variant(), "miou")) == 1
    files = Path("mlartifacts/smoke_ade20k", run.info.run_id, "artifacts").iterdir()
    assert sorted(file.name for file in files) == ["model.safetensors", "run.json"]


def uploaded(trial: Trial, result: dict) -> Uploader:
    with Uploader("smoke") as uploader:
        uploader.add_run(trial)
        uploader.add_result(trial, result)
    return uploader


def test_a_sqlite_file_is_complete_at_the_end(trial: Trial, result: dict, shown: Shown) -> None:
    for _ in range(2):  # a second upload must store nothing twice
        assert not uploaded(trial, result).failed
        check_complete(trial, shown)


CALLS = [
    (MlflowClient, "create_run"),
    (MlflowClient, "log_batch"),
    (MlflowClient, "log_inputs"),
    (MlflowClient, "set_terminated"),
    (MlflowClient, "set_tag"),
    (LocalArtifactRepository, "log_artifact"),
]


@pytest.mark.parametrize(("owner", "call"), CALLS, ids=[call for _, call in CALLS])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_upload_is_completed_in_the_same_run(
    trial: Trial,
    result: dict,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    call: str,
    after: int,
) -> None:
    whole, calls = getattr(owner, call), Counter()

    def breaking(self: MlflowClient, *args: object, **options: object) -> object:
        done = whole(self, *args, **options) if calls[call] < after else None
        calls[call] += 1
        if calls[call] > after:
            raise ConnectionError("the server went away")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(owner, call, breaking)
        uploaded(trial, result)
    assert not uploaded(trial, result).failed
    check_complete(trial, shown)


def test_a_missing_file_of_the_run_is_not_called_a_failure_of_mlflow(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = Path(trial.workspace.run_dir, "model.safetensors"), LocalArtifactRepository.log_artifact

    def vanishing(self: LocalArtifactRepository, local_path: str) -> None:
        file.unlink(missing_ok=True)
        real(self, local_path)

    monkeypatch.setattr(LocalArtifactRepository, "log_artifact", vanishing)
    with pytest.raises(StorageError, match=r"model\.safetensors cannot be read: .*`python -m") as caught:
        MlflowStore("smoke").update(TrialState(trial, "FINISHED"))
    assert str(caught.value).startswith(str(file))


def test_sync_uploads_what_is_missing_once(
    trial: Trial,
    result: dict,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    result["fingerprint"] = hash_json(result_parts(trial))
    write_json(result_path(trial), result)
    report = Path("reports/smoke/report.html")
    report.parent.mkdir(parents=True)
    report.write_text("a report")
    monkeypatch.setattr("pipelines.tracking.sync.load_profile", lambda name: name)
    monkeypatch.setattr("pipelines.tracking.sync.all_trials", lambda profile: [trial])
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert sync(["smoke"]) == 1
        assert "`python -m pipelines.tracking.sync smoke` uploads what is missing" in capsys.readouterr().err
    assert sync(["smoke"]) == 0
    before = shown.everything()
    assert len(before["files"]) == 4, "report, run record, weights, statistics of the data"
    assert sync(["smoke"]) == 0
    assert shown.everything() == before
    report.write_text("another report")
    assert sync(["smoke"]) == 0
    (copy,) = Path("mlartifacts/smoke").glob("*/artifacts/report.html")
    assert copy.read_text() == "another report"


@pytest.fixture(params=["refuses", "hangs", "drips"])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that refuses connections, never answers, or sends one byte per second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if request.param == "refuses":
            server.close()
        if request.param == "drips":
            threading.Thread(target=drip, args=(server,), daemon=True).start()
        yield address


def drip(server: socket.socket) -> None:
    with server.accept()[0] as connection:
        for byte in b"HTTP/1.1 200 OK\r\n" * 10:
            try:
                connection.send(bytes([byte]))
            except OSError:
                return
            time.sleep(1)


def test_a_bad_server_neither_fails_nor_delays(
    trial: Trial, bad_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bad_server)
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.append(command))
    with Uploader("smoke") as uploader:
        uploader.add_run(trial)
        added = time.monotonic()
    assert time.monotonic() - added < 3  # one second, and tolerance for a busy machine
    assert "python -m pipelines.tracking.sync smoke" in capfd.readouterr().err
    assert uploader.failed or started == [[sys.executable, "-m", "pipelines.tracking.sync", "smoke"]]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_bug_shows_its_traceback_and_the_stage_continues(
    trial: Trial, result: dict, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(MlflowStore, "update", lambda *arguments: {}["a bug"])
    assert uploaded(trial, result).failed
    assert "KeyError: 'a bug'" in capfd.readouterr().err
