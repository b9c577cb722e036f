"""The rules of the house, executable: who may import what, and that importing does nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RANKS = {
    "parse": 0,
    "config": 1,
    "data": 2,
    "model": 2,
    "profile": 3,
    "profile_file": 4,
    "complexity": 3,
    "schedule": 3,
    "speeds": 4,
    "plan": 5,
    "plan_text": 6,
    "official_models": 3,
    "official": 4,
    "eval": 3,
    "bar": 0,
    "predict": 4,
    "train": 4,
    "report": 5,
    "cli": 7,
}
SOURCES = sorted([*ROOT.glob("regproxy/**/*.py"), *ROOT.glob("pipelines/**/*.py")])


def imports(path: Path) -> set[str]:
    """Returns the full names of all modules that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def room(module: str) -> str:
    return module.removeprefix("regproxy.").split(".")[0]


def identify(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parts[-2] != "pipelines"], ids=identify)
def test_imports_point_one_way(path: Path) -> None:
    own = room(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))
    if own == "__init__":
        return
    for module in imports(path):
        if module.startswith("regproxy.") and room(module) in RANKS and room(module) != own:
            assert RANKS[room(module)] < RANKS[own], f"{own} must not import {module}"
        assert not module.startswith("pipelines"), f"the library must not import {module}"


@pytest.mark.parametrize(("library", "owner"), [("ray", "cluster"), ("mlflow", "tracking_store")])
def test_each_edge_library_has_one_door(library: str, owner: str) -> None:
    users = {path.name for path in SOURCES if any(m.split(".")[0] == library for m in imports(path))}
    assert users and all(name.startswith(owner) for name in users), f"{library} is imported by {users}"


def test_only_the_command_line_parses_arguments() -> None:
    users = {path.name for path in SOURCES if "argparse" in imports(path)}
    assert users <= {"cli.py", "entry.py"}


def test_no_attics() -> None:
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "helpers", "misc", "common")]


def test_report_tables_need_no_torch() -> None:
    code = "import sys, regproxy.report.tables, regproxy.report.aggregate; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_importing_does_nothing(tmp_path: Path) -> None:
    modules = [identify(p).removesuffix(".py").replace("/", ".").removesuffix(".__init__") for p in SOURCES]
    code = (
        "import os, sys\n"
        "before = dict(os.environ)\n"
        f"for module in {modules!r}: __import__(module)\n"
        "os.environ.pop('LD_LIBRARY_PATH', None); before.pop('LD_LIBRARY_PATH', None)  # OpenCV's own doing\n"
        "assert dict(os.environ) == before, 'environment changed'\n"
        "assert 'ray' not in sys.modules and 'mlflow' not in sys.modules, 'edge library imported'\n"
        "assert not os.listdir('.'), os.listdir('.')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
