"""MLflow as a mirror: whatever its server does, nothing waits, fails, is lost or stands there twice."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.tracking.store import Store
from pipelines.tracking.sync import main as replay
from pipelines.tracking.uploader import Mirror
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train

RESULT = {
    "fingerprint": "of the score",
    "steps": 8,
    "miou": 0.5,
    "pixel_accuracy": 0.75,
    "mean_accuracy": 0.625,
    "classes": ["road", "sky"],
    "iou_per_class": [0.5, None],
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {}


@pytest.fixture
def trial(make_trial: Callable[..., Trial], trained: dict, tmp_path: Path, monkeypatch) -> Trial:
    """A finished smoke trial, trained once; the working directory is its own."""
    monkeypatch.chdir(tmp_path)
    trial = make_trial(log_every=2)
    if "run" in trained:
        shutil.copytree(trained["run"], trial.run_dir)
    else:
        train(trial, Context())
        trained["run"] = tmp_path / "kept"
        shutil.copytree(trial.run_dir, trained["run"])
    assert trial.finished_record()
    return trial


def runs(uri: str | None = None) -> list:
    client = MlflowClient(uri or f"sqlite:///{Path('mlflow.db').absolute()}")
    return [run for e in client.search_experiments() for run in client.search_runs([e.experiment_id])]


def check_whole(trial: Trial, uri: str | None = None, count: int = 2) -> None:
    """One parent and one run, each point of its curves once, its files, its scores."""
    client = MlflowClient(uri or f"sqlite:///{Path('mlflow.db').absolute()}")
    found = runs(uri)
    assert len(found) == count and all(run.info.status == "FINISHED" for run in found)
    (run,) = (run for run in found if run.data.tags["regproxy.fingerprint"] == trial.fingerprint)
    for key in ("loss", "learning_rate"):
        steps = Counter(metric.step for metric in client.get_metric_history(run.info.run_id, key))
        assert steps == {2: 1, 4: 1, 6: 1, 8: 1}
    assert len(client.get_metric_history(run.info.run_id, "miou")) == 1
    names = sorted(file.path for file in client.list_artifacts(run.info.run_id))
    assert names == ["model.safetensors", "run.json"]


def mirrored(trial: Trial) -> Mirror:
    with Mirror("smoke") as mirror:
        mirror.add_run(trial)
        mirror.add_result(trial, RESULT)
    return mirror


def test_a_file_is_complete_when_the_mirror_is_left(trial: Trial) -> None:
    for _ in range(2):  # again, and nothing is doubled
        assert not mirrored(trial).failed
        check_whole(trial)


@pytest.mark.parametrize("call", ["log_batch", "log_artifact", "set_terminated", "set_tag"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_mirror_that_breaks_off_goes_on_in_the_same_run(
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
        broken = mirrored(trial).failed
    assert broken or calls[call] <= after
    assert not mirrored(trial).failed
    check_whole(trial)


def test_the_command_delivers_what_is_missing(
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
        assert replay(["smoke"]) == 1
        assert "run again when it answers" in capsys.readouterr().err
    for _ in range(2):
        assert replay(["smoke"]) == 0
        check_whole(trial)


@pytest.fixture(params=["refuses", "hangs", "drips"])
def bad_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server that takes no connection, never answers, or answers a byte a second."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if request.param == "refuses":
            server.close()
        if request.param == "drips":
            threading.Thread(target=drip, args=(server,), daemon=True).start()
        yield address


def drip(server: socket.socket) -> None:
    with server.accept()[0] as visitor:
        for byte in b"HTTP/1.1 200 OK\r\n" * 10:
            try:
                visitor.send(bytes([byte]))
            except OSError:
                return
            time.sleep(1)


def test_a_bad_server_neither_fails_nor_delays(
    trial: Trial, bad_server: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", bad_server)
    started: list[list[str]] = []
    monkeypatch.setattr(subprocess, "Popen", lambda command, **options: started.append(command))
    with Mirror("smoke") as mirror:
        mirror.add_run(trial)
        entered = time.monotonic()
    assert time.monotonic() - entered < 3  # a second, and what a busy machine adds
    assert "python -m pipelines.tracking.sync smoke" in capfd.readouterr().err
    assert mirror.failed or started == [[sys.executable, "-m", "pipelines.tracking.sync", "smoke"]]


COPY = """
import pickle, sys
from pipelines.tracking.store import Store
Store("smoke").mirror_run(pickle.loads(bytes.fromhex(sys.argv[1])))
"""


@pytest.fixture(params=["file", "server"])
def fresh_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Iterator[str]:
    """The address of an empty MLflow: a SQLite file, or a server with one."""
    file = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "file":
        yield file
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--backend-store-uri", file, "--port", str(port), "--workers", "1"]
    log = (tmp_path / "server.log").open("w")
    server = subprocess.Popen(
        [Path(sys.executable).with_name("mlflow"), "server", *options],
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                break
            time.sleep(0.1)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        log.close()


@pytest.mark.soak
def test_eight_processes_share_a_fresh_store(trial: Trial, tmp_path: Path, fresh_store: str) -> None:
    others = [replace(trial, seed=seed, run_dir=str(tmp_path / f"run-{seed}")) for seed in range(8)]
    for other in others:
        shutil.copytree(trial.run_dir, other.run_dir, dirs_exist_ok=True)
        record = json.loads((Path(other.run_dir) / "run.json").read_text())
        record |= {"fingerprint": other.fingerprint, "seed": other.seed}
        (Path(other.run_dir) / "run.json").write_text(json.dumps(record))
    processes = [
        subprocess.Popen([sys.executable, "-c", COPY, pickle.dumps(other).hex()]) for other in others
    ]
    assert [process.wait() for process in processes] == [0] * 8
    found = runs(fresh_store)
    assert len(found) == 8 + 1, "one parent, eight seeds"
    assert {run.data.tags["regproxy.fingerprint"] for run in found} == {
        *(other.fingerprint for other in others),
        "variant region-4x4",
    }
    assert all(run.info.status == "FINISHED" for run in found)
    Store("smoke")  # and it can still be opened
