"""Fixtures of the fault tests: a cluster of simulated nodes, and the driver of trials that go wrong."""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_runs import add_node
from faulty_trials import Scenario

from regproxy.runs.trial import Trial

MakeTrial = Callable[..., Trial]
HERE = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without CPUs, and two nodes of one CPU each; tests that take nodes away put new ones there."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    for _ in range(2):
        add_node(cluster)
    yield cluster
    cluster.shutdown()


@pytest.fixture
def run(cluster: Any, tmp_path: Path) -> Callable[..., subprocess.Popen]:
    """Return a function that starts the driver of the trials on the cluster."""

    def start(scenario: Scenario) -> subprocess.Popen:
        pickled = tmp_path / "scenario.pickle"
        pickled.write_bytes(pickle.dumps(scenario))
        path = f"{HERE.parent}{os.pathsep}{HERE}"
        environment = {**os.environ, "RAY_ADDRESS": cluster.address, "PYTHONPATH": path}
        command = [sys.executable, str(HERE / "faulty_trials.py"), str(pickled)]
        return subprocess.Popen(command, cwd=tmp_path, env=environment)

    return start
