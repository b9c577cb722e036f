"""How a stage fails: a user's mistake is one line, a bug shows its traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.stage import profile_stage
from regproxy.errors import ConfigError, DamagedError, DataError, StorageError

STAGE = """
from pipelines.stage import profile_stage
def stage(profile):
    {body}
raise SystemExit(profile_stage(stage, "", ["smoke"]))
"""


def run_stage(body: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", STAGE.format(body=body)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("bug", ["a, b = (1, 2, 3)", "open('no-such-file')"])
def test_a_bug_shows_its_traceback(bug: str) -> None:
    process = run_stage(bug)
    assert process.returncode != 0 and process.stderr.startswith("Traceback")
    assert process.stderr.splitlines()[-1].startswith(("ValueError: too many values", "FileNotFoundError"))


@pytest.mark.parametrize("kind", [ConfigError, DataError, StorageError, DamagedError])
def test_a_mistake_is_one_line(kind: type[Exception], capsys: pytest.CaptureFixture[str]) -> None:
    def stage(profile: str) -> int:
        raise kind("seeds is invalid")

    assert profile_stage(stage, "", ["smoke"]) == 1
    assert capsys.readouterr().err == "error: seeds is invalid\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_or_read_only_disk_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    def stage(profile: str) -> int:
        raise OSError(number, os.strerror(number), "runs/smoke/run.json")

    assert profile_stage(stage, "", ["smoke"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: cannot use runs/smoke/run.json: ") and len(error.splitlines()) == 1
