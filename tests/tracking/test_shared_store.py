"""Several processes upload to one empty MLflow store at once."""

import contextlib
import json
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from pipelines.tracking.store import MlflowStore
from regproxy.runs.trial import Trial

UPLOAD = """
import pickle, sys
from pipelines.tracking.store import MlflowStore
MlflowStore("smoke").upload(pickle.loads(bytes.fromhex(sys.argv[1])))
"""


@pytest.fixture(params=["file", "server"])
def fresh_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Iterator[str]:
    """The URI of an empty MLflow store: a SQLite file, or a server that uses one."""
    file = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "file":
        yield file
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--backend-store-uri", file, "--port", str(port), "--workers", "1"]
    log = (tmp_path / "server.log").open("w")
    command = [Path(sys.executable).with_name("mlflow"), "server", *options]
    server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
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
    trials = [replace(trial.moved(run_dir=str(tmp_path / f"run-{seed}")), seed=seed) for seed in range(8)]
    for other in trials:
        shutil.copytree(trial.workspace.run_dir, other.workspace.run_dir, dirs_exist_ok=True)
        record = json.loads((Path(other.workspace.run_dir) / "run.json").read_text())
        record |= {"fingerprint": other.fingerprint, "seed": other.seed}
        (Path(other.workspace.run_dir) / "run.json").write_text(json.dumps(record))
    commands = [[sys.executable, "-c", UPLOAD, pickle.dumps(other).hex()] for other in trials]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait() for process in processes] == [0] * 8
    client = MlflowClient(fresh_store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments)
    assert len(found) == 8 + 1, "one parent, eight seeds"
    assert {run.data.tags["regproxy.fingerprint"] for run in found} == {
        *(other.fingerprint for other in trials),
        "variant region-4x4",
    }
    assert all(run.info.status == "FINISHED" for run in found)
    MlflowStore("smoke")  # the store must still open
