"""What `pip install .` installs: one package, its profiles, and no library that only the pipeline needs."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from regproxy.cli import complexity
from regproxy.cli.main import main

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ONLY_PIPELINE = {"ray", "dvc", "mlflow", "optuna"}


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", requirement)[0] for requirement in requirements}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source")
    ignore = shutil.ignore_patterns("__pycache__")
    for name in ("regproxy", "pipelines"):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(command, cwd=source, check=True)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.mark.integration
def test_the_wheel_holds_one_package_with_the_profiles(wheel: Path) -> None:
    files = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in files} == {"regproxy", f"regproxy-{PROJECT['version']}.dist-info"}
    profiles = {f"regproxy/profiles/{path.name}" for path in ROOT.glob("pipelines/profiles/*.yaml")}
    templates = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("regproxy/report/templates/*")}
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("regproxy/**/*.py")}
    assert profiles and templates
    assert files >= profiles | templates | modules | {"regproxy/py.typed"}


@pytest.mark.integration
def test_the_installed_command_works_in_any_folder(wheel: Path, tmp_path: Path) -> None:
    installed, folder = tmp_path / "installed", tmp_path / "elsewhere"
    folder.mkdir()
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}

    def regproxy(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "regproxy.cli", *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)

    assert regproxy("--version").stdout == f"regproxy {PROJECT['version']}\n"
    table = regproxy("complexity", "--profile", "smoke")
    assert table.returncode == 0 and "Smoke/16" in table.stdout, table.stderr
    mistake = regproxy("complexity", "--profile", "smok")
    assert mistake.returncode == 1 and f"{installed}/regproxy/profiles" in mistake.stderr
    assert not list(folder.iterdir())


def test_the_metadata_has_ranges_and_the_light_install_no_pipeline() -> None:
    extras = PROJECT["optional-dependencies"]
    every = [*PROJECT["dependencies"], *(one for extra in extras.values() for one in extra)]
    assert not [requirement for requirement in every if "==" in requirement]
    assert not names(PROJECT["dependencies"]) & ONLY_PIPELINE
    assert names(extras["pipeline"]) >= ONLY_PIPELINE
    assert names(extras["export"]) == {"onnx", "onnxruntime", "onnxscript"}
    lock = (ROOT / "requirements.lock").read_text().lower().replace("_", "-").splitlines()
    assert names(every) - {"regproxy"} <= {line.split("==")[0] for line in lock}


def test_importing_the_library_and_the_command_loads_no_torch() -> None:
    code = (
        "import sys, regproxy, regproxy.cli.main\n"
        "assert regproxy.__version__\n"
        "assert not (found := {'torch', 'timm', 'matplotlib', 'pyarrow', 'rich'} & sys.modules.keys()), found"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_missing_extra_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(complexity, "_structure", lambda variant: __import__("onnx"))
    assert main(["complexity", "--profile", "smoke"]) == 1
    assert capsys.readouterr().err == "error: this command needs onnx: pip install 'regproxy[export]'\n"
