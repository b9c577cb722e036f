"""Locks between processes, and a stage that stops when the dvc process that started it is gone."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from regproxy.storage.lock import hold_lock, profile_lock

HOLD = """
import sys
from pathlib import Path
from regproxy.storage.lock import profile_lock
with profile_lock("demo", Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""
# A stage that prints when it starts and when a signal stops it.
STAGE = """
import time
from pipelines.stage import profile_stage
from pipelines.cluster.stop_signal import Interrupted, driver_signals

def stage(profile):
    with driver_signals() as signals:
        print("begun", flush=True)
        while signals.number is None:
            time.sleep(0.01)
    raise Interrupted(signals.number)

raise SystemExit(profile_stage(stage, "", ["smoke"]))
"""


def python(code: str, *arguments: str, **options: object) -> subprocess.Popen:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *arguments], text=True, **pipes, **options)


def test_second_process_prints_the_holder_and_waits(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with python(HOLD, str(runs)) as first:
        assert first.stdout.readline() == "locked\n"
        with profile_lock("smoke", runs):  # another profile
            pass
        with python(HOLD, str(runs)) as second:
            message = second.stderr.readline()
            assert f"Process {first.pid} is training {runs}/demo" in message
            assert f"`kill {first.pid}`" in message
            first.kill()  # the operating system releases the lock
            assert second.stdout.readline() == "locked\n"
            second.stdin.close()
            assert second.wait(timeout=30) == 0
    with profile_lock("demo", runs):
        assert (runs / ".demo.lock").read_text() == f"{os.getpid()}\n"


def test_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), hold_lock(tmp_path / "deep/lock"):
        raise RuntimeError
    with hold_lock(tmp_path / "deep/lock"):
        pass


def test_stage_stops_after_dvc_was_killed(tmp_path: Path) -> None:
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
    wait_for(log, "Stopped by SIGTERM. Run the command again to continue.")


def wait_for(log: Path, text: str) -> None:
    deadline = time.monotonic() + 60
    while text not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
