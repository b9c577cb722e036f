"""What a run record says about the source code."""

import subprocess
from pathlib import Path

import pytest

from regproxy.runs.record import git_commit


def test_outside_of_git_the_commit_is_that_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGPROXY_GIT_COMMIT", raising=False)
    assert git_commit() is None
    monkeypatch.setenv("REGPROXY_GIT_COMMIT", "f" * 40)
    assert git_commit() == "f" * 40
    git("init")
    git("commit", "--allow-empty", "--message", "first")
    clean = git_commit()
    assert clean != "f" * 40 and len(clean) == 40
