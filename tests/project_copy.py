"""A copy of the project, like a user's checkout, and how its commands are called."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_SOURCES = ("pipelines", "regproxy", "dvc.yaml", ".dvcignore", "pyproject.toml")
_OUTPUTS = ("data", "runs", "results", "search", "complexity", "reports", "mlflow.db*", "mlartifacts")


def copy_project(folder: Path, profile: str) -> Path:
    """Copy the project to a folder, with a profile in params.yaml, and return the folder."""
    for name in _SOURCES:
        source = _ROOT / name
        ignore = shutil.ignore_patterns("__pycache__")
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignore)
        else:
            shutil.copy(source, folder)
    (folder / "params.yaml").write_text(f"profiles: [{profile}]\n")
    (folder / ".gitignore").write_text("".join(f"/{name}\n" for name in _OUTPUTS))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([tool("dvc"), "init", "-q"], cwd=folder, check=True)
    subprocess.run([tool("dvc"), "config", "core.analytics", "false"], cwd=folder, check=True)
    return folder


def tool(name: str) -> str:
    """Return the path of a command of this environment."""
    return str(Path(sys.executable).parent / name)


def environment(project: Path) -> dict[str, str]:
    """Return the variables with which this environment's commands run the copy's code."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(project)}
