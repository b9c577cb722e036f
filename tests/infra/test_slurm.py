"""infra/slurm.sh with commands of Slurm and Ray that only write down how they were called."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAKES = {
    "scontrol": 'if [[ "$1" == show ]]; then printf "node%d\\n" 1 2 3; else echo "scontrol $*" >> calls; fi',
    "srun": """
echo "srun cpus=${SRUN_CPUS_PER_TASK:-} $*" >> calls
while [[ "$1" == --* ]]; do shift; done
exec "$@"
""",
    "hostname": "echo 10.0.0.1 fd00::1",
    "ray": 'if [[ "$1" == start ]]; then echo $$ >> started; exec sleep 300; fi',
    "python": "echo 3",
    "openssl": "echo token",
    "make": """
while [[ "$(grep -c 'ray start' calls)" -lt 2 ]]; do sleep 0.1; done  # the workers start in the background
echo "make $* at $RAY_ADDRESS" >> calls
exit "$(cat status)"
""",
}


def is_running(process: str) -> bool:
    """Return whether a process runs; one that has ended may wait for its parent to notice it."""
    try:
        return Path("/proc", process, "stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("status", [0, 7])
def test_all_cpus_are_asked_for_and_everything_is_ended(status: int, tmp_path: Path) -> None:
    folder = tmp_path / ".venv/bin"
    folder.mkdir(parents=True)
    for name, body in FAKES.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (folder / name).chmod(0o755)
    (tmp_path / "status").write_text(str(status))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SRUN_", "SLURM_"))
    }
    environment |= {
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "12345",
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_CPUS_PER_TASK": "64",
        "SLURM_GPUS_ON_NODE": "8",
    }
    done = subprocess.run(
        ["bash", str(ROOT / "infra/slurm.sh")], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, done.stderr
    assert "Ray runs on 3 of 3 nodes" in done.stdout
    calls = (tmp_path / "calls").read_text().splitlines()
    starts = [call for call in calls if "ray start" in call]
    assert len(starts) == 2 and all(call.startswith("srun cpus=64 ") for call in starts), calls
    assert all("--num-cpus=64 --num-gpus=8" in call for call in starts)
    head, workers = starts if "--head" in starts[0] else reversed(starts)
    assert "--nodelist=node1 " in head and "--port=22345" in head
    assert "--nodes=2 " in workers and "--nodelist=node2,node3 " in workers and "10.0.0.1:22345" in workers
    assert calls[-1] == "make cluster-repro at 10.0.0.1:22345"
    for process in (tmp_path / "started").read_text().split():
        assert not is_running(process), "Ray still runs"
