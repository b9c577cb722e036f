"""The rules of the house, executable: who may import what, and that importing does nothing."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
RANKS = {
    "errors": 0,
    "config": 1,
    "storage": 2,
    "data": 3,
    "model": 3,
    "demo": 4,
    "eval": 4,
    "runs": 5,
    "train": 6,
    "released": 6,
    "plan": 6,
    "report": 6,
    "cli": 7,
}
MAX_LINES, MAX_FILES = 220, 14
LIBRARY = sorted(ROOT.glob("regproxy/**/*.py"))
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


@pytest.mark.parametrize("path", LIBRARY, ids=identify)
def test_imports_point_one_way(path: Path) -> None:
    own = room(path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."))
    if own == "__init__":
        return
    for module in imports(path):
        if module.startswith("regproxy.") and room(module) != own:
            assert RANKS[room(module)] < RANKS[own], f"{own} must not import {module}"
        assert not module.startswith("pipelines"), f"the library must not import {module}"


def test_every_room_has_a_rank() -> None:
    rooms = {path.name for path in (ROOT / "regproxy").iterdir() if path.is_dir() and list(path.glob("*.py"))}
    assert rooms | {"errors"} == RANKS.keys()
    assert {path.name for path in (ROOT / "regproxy").glob("*.py")} == {"__init__.py", "errors.py"}


def test_the_root_of_pipelines_is_the_dag() -> None:
    stages = set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"])
    files = {path.stem for path in (ROOT / "pipelines").glob("*.py")}
    assert files == stages | {"__init__", "stage", "check"}


@pytest.mark.parametrize(("library", "folder"), [("ray", "cluster"), ("mlflow", "tracking")])
def test_only_one_folder_imports_each_edge_library(library: str, folder: str) -> None:
    users = {path for path in SOURCES if any(m.split(".")[0] == library for m in imports(path))}
    assert users and {path.parent for path in users} == {ROOT / "pipelines" / folder}


def test_only_the_command_line_parses_arguments() -> None:
    users = {identify(path) for path in SOURCES if "argparse" in imports(path)}
    assert all(user.startswith("regproxy/cli/") or user == "pipelines/stage.py" for user in users), users


def test_rooms_and_files_stay_small() -> None:
    sizes = {identify(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {name: lines for name, lines in sizes.items() if lines > MAX_LINES}
    counts = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert not {folder: count for folder, count in counts.items() if count > MAX_FILES}


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
