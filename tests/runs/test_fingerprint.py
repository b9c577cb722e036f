"""Which edits of the source code retrain and rescore which variants; `pytest -s` prints the table."""

import ast
import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from smoke_profile import SMOKE_VARIANTS

from regproxy.config.variant import Variant
from regproxy.runs import fingerprint
from regproxy.runs.fingerprint import NO_NUMBERS, ONLY_FOR, SCORING, TRAINING, source_hash, used_modules

ROOT = Path(__file__).parents[2]


def derived(variant: str, *, recipe: dict | None = None, **model: object) -> Variant:
    base = SMOKE_VARIANTS["ade20k", variant]
    return dataclasses.replace(
        base,
        model=dataclasses.replace(base.model, **model),
        recipe=dataclasses.replace(base.recipe, **(recipe or {})),
    )


VARIANTS = {
    "linear": derived("linear"),
    "4x4": derived("region-4x4"),
    "4x4-region-loss": derived("region-4x4", recipe={"region_loss": "homogeneity"}),
    "segmenter": derived("linear", head="segmenter"),
    "pretrained": derived("linear", pretrain="deit", weights="deit_tiny_patch16_224.fb_in1k"),
    "own-start": derived("linear", pretrain="file", weights="runs/demo/ade20k/linear/0"),
    "averaged": derived("linear", recipe={"ema_decay": 0.999}),
    "weighted": derived("linear", recipe={"class_weights": {"car": 2.0}}),
    "mined": derived("linear", recipe={"ohem_threshold": 0.7}),
    "dice": derived("linear", recipe={"dice_weight": 1.0}),
}
NONE, ALL = set[str](), set(VARIANTS)
REGPROXY = {"4x4", "4x4-region-loss"}


def add_comment(file: Path) -> None:
    file.write_text(file.read_text() + "\n# A comment.\n")


def change_docstrings(file: Path) -> None:
    """Replace every docstring by another one."""
    text = re.sub(r'^( *)"""(?:[^"]|"(?!""))*"""$', r'\1"""Other words."""', file.read_text(), flags=re.M)
    assert text != file.read_text()
    file.write_text(text)


def reformat(file: Path) -> None:
    """Let Python format the file in its own way, without comments."""
    file.write_text(ast.unparse(ast.parse(file.read_text())))


def change_number(file: Path) -> None:
    """Add 1 to the first number in the file; add a number to a file without any."""
    tree = ast.parse(file.read_text())
    numbers = (
        node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) in (int, float)
    )
    number = next(numbers, None)
    if number is None:
        file.write_text(file.read_text() + "\n_NUMBER = 1\n")
        return
    number.value += 1
    file.write_text(ast.unparse(tree))


def import_new_module(file: Path) -> None:
    file.with_name("new_module.py").write_text("VALUE = 1\n")
    room = file.parent.name
    file.write_text(file.read_text() + f"\nfrom regproxy.{room} import new_module  # noqa\n")


CASES: list[tuple[Callable[[Path], None], str, set[str], set[str]]] = [
    # edit, files, retrained, rescored besides
    (add_comment, "regproxy/*/*.py", NONE, NONE),
    (change_docstrings, "regproxy/train/loss.py", NONE, NONE),
    (reformat, "regproxy/*/*.py", NONE, NONE),
    (change_number, "pipelines/**/*.py", NONE, NONE),
    *((change_number, f"regproxy/{room}/*.py", NONE, NONE) for room in ("demo", "storage", "report", "plan")),
    *((change_number, f"regproxy/{room}/*.py", NONE, NONE) for room in ("cli", "config")),
    (change_number, "regproxy/released/[ac]*.py", NONE, NONE),
    (change_number, "regproxy/released/official_names.py", {"own-start"}, NONE),
    (change_number, "regproxy/errors.py", NONE, NONE),
    (change_number, "regproxy/data/prepare.py", NONE, NONE),
    (change_number, "regproxy/model/new_module.py", NONE, NONE),
    (change_number, "regproxy/model/segmenter.py", {"segmenter"}, NONE),
    (change_number, "regproxy/model/affinity.py", REGPROXY, NONE),
    (change_number, "regproxy/model/regproxy.py", REGPROXY, NONE),
    (change_number, "regproxy/model/regions.py", {"4x4-region-loss"}, REGPROXY),
    (change_number, "regproxy/model/linear.py", ALL - {"segmenter"}, NONE),
    (change_number, "regproxy/model/pretrained.py", {"pretrained", "own-start"}, NONE),
    (change_number, "regproxy/train/starting_weights.py", {"pretrained", "own-start"}, NONE),
    (change_number, "regproxy/train/average.py", {"averaged"}, NONE),
    (change_number, "regproxy/train/combined_loss.py", {"weighted", "mined", "dice"}, NONE),
    (change_number, "regproxy/train/tiles.py", ALL, NONE),
    (change_number, "regproxy/model/backbone.py", ALL, NONE),
    (change_number, "regproxy/train/loss.py", ALL, NONE),
    (change_number, "regproxy/train/loop.py", ALL, NONE),
    (change_number, "regproxy/data/order.py", ALL, NONE),
    (change_number, "regproxy/data/transforms.py", ALL, NONE),
    (change_number, "regproxy/eval/metrics.py", NONE, ALL),
    (change_number, "regproxy/eval/sliding.py", NONE, ALL),
    (change_number, "regproxy/eval/boundary.py", NONE, ALL),
    (change_number, "regproxy/eval/image_confusions.py", NONE, ALL),
    (change_number, "regproxy/eval/bootstrap.py", NONE, NONE),
    (change_number, "regproxy/runs/scoring.py", NONE, ALL),
    (import_new_module, "regproxy/train/loss.py", ALL, NONE),
    (import_new_module, "regproxy/eval/metrics.py", NONE, ALL),
]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source code, with a file that nothing imports."""
    copy = tmp_path_factory.mktemp("original") / "copy"
    for name in ("regproxy", "pipelines"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "regproxy/model/new_module.py").write_text("VALUE = 1\n")
    return copy


@pytest.fixture
def checkout(original: Path, tmp_path: Path) -> Path:
    """A copy to edit."""
    return shutil.copytree(original, tmp_path / "checkout")


@pytest.mark.parametrize(
    ("edit", "files", "retrained", "rescored"),
    CASES,
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_an_edit_retrains_what_it_can_change(
    edit: Callable[[Path], None],
    files: str,
    retrained: set[str],
    rescored: set[str],
    original: Path,
    checkout: Path,
) -> None:
    edited = sorted(checkout.glob(files))
    assert edited
    for file in edited:
        edit(file)

    def changed(purpose: fingerprint.Purpose) -> set[str]:
        return {
            name
            for name, variant in VARIANTS.items()
            if source_hash(variant, purpose, checkout / "regproxy")
            != source_hash(variant, purpose, original / "regproxy")
        }

    training, scoring = changed(TRAINING), changed(TRAINING) | changed(SCORING)
    print(f"{edit.__name__:18} {files:30} retrains {_names(training):28} rescores {_names(scoring)}")
    assert training == retrained
    assert scoring == retrained | rescored


def _names(variants: set[str]) -> str:
    return "all" if variants == ALL else ", ".join(sorted(variants)) or "none"


def test_trials_follow_the_source_code_that_runs(checkout: Path, make_trial: Callable) -> None:
    """A trial's fingerprint in a process that imports an edited copy of the package."""
    trial = make_trial()
    code = (
        f"import sys; sys.path.insert(0, {str(checkout)!r})\n"
        "from regproxy.config.profile_file import load_profile\n"
        "from regproxy.runs.trial import Trial, Workspace\n"
        "variant = next(v for v in load_profile('smoke').variants if v.name == 'region-4x4')\n"
        f"print(Trial('smoke', variant, 0, Workspace({trial.workspace.data_dir!r}, 'run')).fingerprint)\n"
    )

    def fingerprint_of_copy() -> str:
        command = [sys.executable, "-c", code]
        return subprocess.check_output(command, cwd=checkout, env=os.environ, text=True).strip()

    add_comment(checkout / "regproxy/train/loss.py")
    assert fingerprint_of_copy() == trial.fingerprint
    change_number(checkout / "regproxy/train/loss.py")
    assert fingerprint_of_copy() != trial.fingerprint


@pytest.mark.parametrize("module", [*NO_NUMBERS, *ONLY_FOR, *TRAINING.no_numbers, *TRAINING.only_for])
def test_the_tables_name_existing_modules(module: str) -> None:
    """A renamed module must be renamed in the tables, too, or its edits would count again."""
    path = ROOT / module.replace(".", "/")
    assert path.is_dir() or path.with_suffix(".py").is_file()


def test_modules_are_parsed_once() -> None:
    """Hundreds of trials have few modules: their fingerprints must not parse them again."""
    fingerprint._read_module.cache_clear()
    for _ in range(100):
        for variant in VARIANTS.values():
            source_hash(variant, TRAINING), source_hash(variant, SCORING)
    used = {m for v in VARIANTS.values() for p in (TRAINING, SCORING) for m in used_modules(v, p)}
    assert fingerprint._read_module.cache_info().misses == len(used)


def test_conditional_modules_are_used_by_some_variant() -> None:
    used = {module for variant in VARIANTS.values() for module in used_modules(variant, TRAINING)}
    assert ONLY_FOR.keys() | TRAINING.only_for.keys() <= used
