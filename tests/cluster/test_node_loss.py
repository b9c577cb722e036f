"""The smoke profile on three nodes, one of which is killed: the table of the run that nothing happened to.

pytest -m soak -s tests/cluster/test_node_loss.py    prints what a user sees
"""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from regproxy.runs.history import read_history

pytestmark = pytest.mark.soak
ROOT = Path(__file__).parents[2]
LONGER = {"steps": 300, "checkpoint_every": 50, "log_every": 10, "validate_every": 300}


@pytest.fixture
def nodes() -> Iterator[tuple[str, list[Any]]]:
    """A head without CPUs and three nodes of one CPU: the address and the three."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20) for _ in range(3)]
    yield cluster.address, nodes
    cluster.shutdown()


def start_ablation(place: Path, data: Path, address: str | None) -> subprocess.Popen:
    """Starts `ablate smoke`, with longer trainings, in a working directory of its own."""
    profile = yaml.safe_load((ROOT / "pipelines/profiles/smoke.yaml").read_text())
    profile["recipe"] |= LONGER
    path = place / "pipelines/profiles/smoke.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(profile))
    (place / "data/prepared").mkdir(parents=True)
    (place / "data/prepared/smoke").symlink_to(data)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    if address:
        environment["RAY_ADDRESS"] = address
    command = [sys.executable, "-m", "pipelines.ablate", "smoke"]
    return subprocess.Popen(command, cwd=place, env=environment)


def kill_node(node: Any) -> None:
    """kill -9 of a node's own process and of all that it has started."""
    raylet = node.all_processes["raylet"][0].process.pid
    children = Path(f"/proc/{raylet}/task/{raylet}/children").read_text().split()
    for process in (raylet, *map(int, children)):
        os.kill(process, signal.SIGKILL)


def results(place: Path) -> dict[str, tuple[str, str, str]]:
    """Returns final loss, validation mIoU and the weights' SHA-256 of every trial."""
    table = {}
    for record in sorted(place.glob("runs/smoke/*/*/*/run.json")):
        loss = json.loads(record.read_text())["final_loss"]
        miou = read_history(record.parent / "metrics.jsonl")[-1]["val_miou"]
        digest = hashlib.sha256((record.parent / "model.safetensors").read_bytes()).hexdigest()
        name = record.parent.relative_to(place / "runs/smoke").as_posix()
        table[name] = (f"{loss:.6f}", f"{100 * miou:.3f}", digest)
    return table


def test_ablation_survives_a_node(
    nodes: tuple[str, list[Any]], smoke_data: dict[str, Path], tmp_path: Path
) -> None:
    address, (first, *_) = nodes
    data = smoke_data["ade20k"].parent
    print("\n$ python -m pipelines.ablate smoke      # three nodes", flush=True)
    ablation = start_ablation(tmp_path / "cluster", data, address)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "cluster").glob("runs/smoke/*/*/*/checkpoints/step-*")):
        assert ablation.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    print(f"$ kill -9 <all processes of node {first.node_id[:8]}>", flush=True)
    kill_node(first)
    assert ablation.wait(timeout=200) == 0
    print("$ python -m pipelines.ablate smoke      # elsewhere, undisturbed", flush=True)
    assert start_ablation(tmp_path / "alone", data, None).wait(timeout=200) == 0

    disturbed, whole = results(tmp_path / "cluster"), results(tmp_path / "alone")
    print(f"{'trial':26} {'loss':>9} {'mIoU':>7}  weights        of the undisturbed run")
    for name, (loss, miou, digest) in disturbed.items():
        same = "the same" if whole[name] == (loss, miou, digest) else "DIFFERENT"
        print(f"{name:26} {loss:>9} {miou:>7}  {digest[:12]}   {whole[name][2][:12]}  {same}")
    assert len(whole) == 8
    assert disturbed == whole
