"""The rules of the house: which room imports which, their sizes, and that importing has no side effects."""

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
RANKS = {  # a room imports only rooms of a lower rank
    "errors": 0,
    "config": 1,
    "storage": 2,
    "raw": 2,
    "data": 3,
    "model": 3,
    "demo": 4,
    "drawing": 4,
    "eval": 4,
    "runs": 5,
    "released": 6,
    "plan": 6,
    "suggest": 6,
    "report": 6,
    "train": 7,
    "data_check": 7,
    "figures": 7,
    "inference": 7,
    "export": 8,
    "cli": 9,
}
EDGES = {"ray": "cluster", "mlflow": "tracking"}  # library -> the folder of pipelines/ that may import it
MAX_LINES, MAX_FILES = 220, 14
LIBRARY = sorted(ROOT.glob("regproxy/**/*.py"))
SOURCES = sorted([*LIBRARY, *ROOT.glob("pipelines/**/*.py")])


def imports(path: Path) -> set[str]:
    """Return the full names of all modules that a file imports, in functions too."""
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


def module_name(path: Path) -> str:
    return identify(path).removesuffix(".py").replace("/", ".").removesuffix(".__init__")


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


@pytest.mark.parametrize(("library", "folder"), EDGES.items())
def test_only_one_folder_imports_each_edge_library(library: str, folder: str) -> None:
    users = {path for path in SOURCES if any(m.split(".")[0] == library for m in imports(path))}
    assert users and {path.parent for path in users} == {ROOT / "pipelines" / folder}


def test_only_the_command_line_parses_arguments() -> None:
    users = {identify(path) for path in SOURCES if "argparse" in imports(path)}
    assert all(user.startswith("regproxy/cli/") or user == "pipelines/stage.py" for user in users), users


def test_rooms_and_files_stay_small() -> None:
    files = [*SOURCES, *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")]
    sizes = {identify(path): len(path.read_text().splitlines()) for path in files}
    assert not {name: lines for name, lines in sizes.items() if lines > MAX_LINES}
    counts = Counter(path.parent for path in SOURCES if path.name != "__init__.py")
    assert not {folder: count for folder, count in counts.items() if count > MAX_FILES}


def test_no_file_without_a_question() -> None:
    assert not [path for path in SOURCES if path.stem in ("utils", "util", "helpers", "misc", "common")]


def test_the_report_imports_neither_torch_nor_training() -> None:
    modules = [module_name(path) for path in LIBRARY if path.parent.name in ("report", "drawing", "figures")]
    run_in_python(import_all(modules) + expect_not_imported("torch", "regproxy.train"), ROOT)


def test_importing_has_no_side_effects(tmp_path: Path) -> None:
    folders = {ROOT / "pipelines" / folder for folder in EDGES.values()}
    edge = [module_name(path) for path in SOURCES if path.parent in folders]
    others = [module_name(path) for path in SOURCES if path.parent not in folders]
    code = (
        import_all(others)
        + "os.environ.pop('LD_LIBRARY_PATH', None); before.pop('LD_LIBRARY_PATH', None)  # OpenCV's\n"
        + "assert os.environ == before, 'importing changed the environment'\n"
        + expect_not_imported(*EDGES)  # so a stage that needs neither starts fast
        + "import mlflow, ray, ray.train.torch, ray.tune  # they change the environment themselves\n"
        + import_all(edge)
        + "assert os.environ == before, 'importing changed the environment'\n"
        + "assert not os.listdir('.'), os.listdir('.')\n"
    )
    run_in_python(code, tmp_path)


def import_all(modules: list[str]) -> str:
    code = "import importlib, os, sys\nbefore = dict(os.environ)\n"
    return code + f"for module in {modules}: importlib.import_module(module)\n"


def expect_not_imported(*modules: str) -> str:
    return f"assert not (found := sys.modules.keys() & {set(modules)}), found\n"


def run_in_python(code: str, folder: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_one_file_imports_private_parts_of_ray() -> None:
    private = re.compile(r"^ray\b.*\._")
    users = {identify(path) for path in SOURCES if any(private.match(name) for name in imports(path))}
    assert users <= {"pipelines/cluster/ray_private.py"}


def test_the_old_dialect_does_not_come_back() -> None:
    banned = re.compile(
        r"\b(goes|go) on\b|\btak(e|es|en) up again\b|\bheed|\bmend(s|ed)?\b|\bfor good\b", re.I
    )
    found = {identify(path): match[0] for path in SOURCES if (match := banned.search(path.read_text()))}
    assert not found
