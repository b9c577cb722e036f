"""One grid at a time, and none that nobody waits for."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from regproxy.storage.lock import alone

HOLD = """
import sys
from pathlib import Path
from regproxy.storage.lock import alone
with alone("demo", Path(sys.argv[1])):
    print("in", flush=True)
    sys.stdin.read()
"""
# A stage that says when it has begun and how it was stopped.
STAGE = """
import time
from pipelines.stage import profile_stage
from pipelines.cluster.stop_signal import Interrupted, StopRequest

def stage(profile):
    request = StopRequest()
    with request.heeded():
        print("begun", flush=True)
        while request.number is None:
            time.sleep(0.01)
    raise Interrupted(request.number)

raise SystemExit(profile_stage(stage, "", ["smoke"]))
"""


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **pipes, **options)


def test_second_grid_of_a_profile_waits_and_says_for_whom(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with python(HOLD, str(runs)) as first:
        assert first.stdout.readline() == "in\n"
        with alone("smoke", runs):  # another profile
            pass
        with python(HOLD, str(runs)) as second:
            said = second.stderr.readline()
            assert f"process {first.pid} is training" in said and f"`kill {first.pid}`" in said
            first.kill()  # however the first ends
            assert second.stdout.readline() == "in\n"
            second.stdin.close()
            assert second.wait(timeout=30) == 0
    with alone("demo", runs):
        assert (runs / ".demo.lock").read_text() == f"{os.getpid()}\n"


def test_stage_ends_when_dvc_has_been_killed(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"
    log = tmp_path / "log"
    with log.open("w") as file:
        dvc = subprocess.Popen(
            [sys.executable, "-c", code, STAGE],
            env={**os.environ, "DVC_STAGE": "ablate@smoke"},
            stdout=file,
            stderr=file,
        )
    wait_for(log, "begun")
    dvc.send_signal(signal.SIGKILL)
    dvc.wait()
    wait_for(log, "stopped by SIGTERM: what is done is kept, run again to go on")


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
