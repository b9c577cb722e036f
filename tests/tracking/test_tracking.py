"""Uploads to MLflow: whatever its server does, no stage waits or fails, nothing is lost or stored twice."""

import json
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

from pipelines.tracking import tracking_uri
from pipelines.tracking.store import MlflowStore
from pipelines.tracking.sync import main as sync
from pipelines.tracking.uploader import Uploader
from regproxy.errors import StorageError
from regproxy.runs.trial import Trial

RESULT = {
    "fingerprint": "of the score",
    "miou": 0.5,
    "pixel_accuracy": 0.75,
    "mean_accuracy": 0.625,
    "classes": ["road", "sky"],
    "iou_per_class": [0.5, None],
}


def all_runs(client: MlflowClient) -> list:
    return [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]


def check_complete(trial: Trial) -> None:
    """Check for one parent and one child run with each point of the curves once, files and scores."""
    client = MlflowClient(tracking_uri())
    found = all_runs(client)
    assert [run.info.status for run in found] == ["FINISHED"] * 2
    (run,) = (run for run in found if run.data.tags["regproxy.fingerprint"] == trial.fingerprint)
    for key in ("loss", "learning_rate"):
        steps = Counter(metric.step for metric in client.get_metric_history(run.info.run_id, key))
        assert steps == {2: 1, 4: 1, 6: 1, 8: 1}
    assert len(client.get_metric_history(run.info.run_id, "miou")) == 1
    names = sorted(file.path for file in client.list_artifacts(run.info.run_id))
    assert names == ["model.safetensors", "run.json"]


def uploaded(trial: Trial) -> Uploader:
    with Uploader("smoke") as uploader:
        uploader.add_run(trial)
        uploader.add_result(trial, RESULT)
    return uploader


def test_a_sqlite_file_is_complete_at_the_end(trial: Trial) -> None:
    for _ in range(2):  # a second upload must store nothing twice
        assert not uploaded(trial).failed
        check_complete(trial)


@pytest.mark.parametrize("call", ["log_batch", "log_artifact", "set_terminated", "set_tag"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupted_upload_is_completed_in_the_same_run(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, call: str, after: int
) -> None:
    whole, calls = getattr(MlflowClient, call), Counter()

    def breaking(self: MlflowClient, *args: object, **options: object) -> object:
        done = whole(self, *args, **options) if calls[call] < after else None
        calls[call] += 1
        if calls[call] > after:
            raise ConnectionError("the server went away")
        return done

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, breaking)
        broken = uploaded(trial).failed
    assert broken or calls[call] <= after
    assert not uploaded(trial).failed
    check_complete(trial)


def test_a_missing_file_of_the_run_is_not_called_a_failure_of_mlflow(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, real = Path(trial.workspace.run_dir, "model.safetensors"), MlflowClient.log_artifact

    def vanishing(self: MlflowClient, run_id: str, local_path: str) -> None:
        file.unlink(missing_ok=True)
        real(self, run_id, local_path)

    monkeypatch.setattr(MlflowClient, "log_artifact", vanishing)
    with pytest.raises(StorageError, match=r"model\.safetensors cannot be read: .*`python -m") as caught:
        MlflowStore("smoke").upload(trial)
    assert str(caught.value).startswith(str(file))


def test_sync_uploads_what_is_missing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    score = Path("results/0.json")
    score.parent.mkdir()
    score.write_text(json.dumps(RESULT))
    monkeypatch.setattr("pipelines.tracking.sync.load_profile", lambda name: name)
    monkeypatch.setattr("pipelines.tracking.sync.all_trials", lambda profile: [trial])
    monkeypatch.setattr("pipelines.tracking.sync.result_path", lambda trial: score)
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert sync(["smoke"]) == 1
        assert "`python -m pipelines.tracking.sync smoke` uploads what is missing" in capsys.readouterr().err
    for _ in range(2):
        assert sync(["smoke"]) == 0
        check_complete(trial)


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
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(MlflowStore, "upload", lambda *arguments: {}["a bug"])
    assert uploaded(trial).failed
    assert "KeyError: 'a bug'" in capfd.readouterr().err
