"""Several processes upload to one empty MLflow store at once."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow_server import mlflow_server

from pipelines.tracking.store import MlflowStore
from regproxy.runs.trial import Trial

UPLOAD = """
import pickle, sys
from pipelines.tracking.state import TrialState
from pipelines.tracking.store import MlflowStore
store = MlflowStore("smoke")
store.update(TrialState(pickle.loads(bytes.fromhex(sys.argv[1])), "FINISHED"))
store.update_variants((), last=True)
"""


@pytest.fixture(params=["file", "server"])
def fresh_store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch) -> Iterator[str]:
    """The URI of an empty MLflow store: a SQLite file, or a server that uses one."""
    (tmp_path / "mlflow.db").unlink(missing_ok=True)
    file = f"sqlite:///{tmp_path / 'mlflow.db'}"
    if request.param == "file":
        yield file
        return
    with mlflow_server(tmp_path) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        yield address


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
    fingerprints = {other.fingerprint for other in trials}
    children = {run.data.tags["regproxy.fingerprint"] for run in found if "seed" in run.data.tags}
    assert children == fingerprints
    assert all(run.info.status == "FINISHED" for run in found)
    MlflowStore("smoke")  # the store must still open
