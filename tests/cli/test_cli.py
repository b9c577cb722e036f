"""The command line: its output, and how it fails."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from regproxy.cli.main import main

KEYS = {"arch", "head", "region", "conv", "multi_level", "num_classes", "params", "gflops_paper", "gmacs"}


def test_complexity_lists_every_network_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complexity", "--json", "--profile", "smoke", "--profile", "smoke"]) == 0
    linear, painted = json.loads(capsys.readouterr().out)
    assert linear.keys() == painted.keys() == KEYS
    assert (linear["head"], linear["region"], linear["conv"]) == ("linear", None, None)
    assert (painted["head"], painted["region"], painted["conv"]) == ("regproxy", [4, 4], "depthwise")
    assert painted["params"] > linear["params"] and painted["num_classes"] == 150


def test_complexity_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["complexity", "--profile", "smoke"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["arch", "head", "region"] and len(lines) == 4


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regproxy.plan.complexity.complexity", lambda variant: [1, 2][2])
    with pytest.raises(IndexError):
        main(["complexity", "--profile", "smoke"])
    monkeypatch.setattr("regproxy.plan.complexity.complexity", lambda variant: int("x"))
    with pytest.raises(ValueError, match="invalid literal"):
        main(["complexity", "--profile", "smoke"])


def test_the_package_is_a_command() -> None:
    command = [sys.executable, "-m", "regproxy.cli", "complexity", "--profile", "smok"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1 and process.stderr.startswith("error: profile: 'smok' is not known")


def test_a_mistake_is_one_line_and_status_1(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["complexity", "--profile", "smok"]) == 1
    assert "did you mean 'smoke'?" in capsys.readouterr().err
    assert main(["import-official", str(tmp_path / "no.pth"), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ") and "no.pth is missing" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()
