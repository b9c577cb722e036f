"""Fingerprint of the source code that can change a number of one variant.

A source hash covers the syntax trees of the modules that a variant uses. They are found by following the
imports from an entry module, so a comment, a docstring, formatting, or a file that nothing imports changes no
hash. Three tables name the modules that are left out, and why.
"""

import ast
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import regproxy
from regproxy.config.variant import Variant

_PACKAGE = Path(regproxy.__file__).parent

NO_NUMBERS = {  # a room covers its modules
    "regproxy.config": "its values are in the resolved variant and in the hash of the data",
    "regproxy.data.prepared": "finds data and verifies their checksums",
    "regproxy.demo": "draws raw data; the hash of the data covers them",
    "regproxy.errors": "messages",
    "regproxy.model.device": "chooses the device, which the run record holds",
    "regproxy.model.state_diff": "describes errors",
    "regproxy.model.torchvision_ops": "declares operators that are never called",
    "regproxy.report": "shows numbers",
    "regproxy.plan": "estimates cost",
    "regproxy.cli": "parses arguments",
    "regproxy.released.architectures": "describes the authors' checkpoints",
    "regproxy.released.checkpoint_import": "imports the authors' checkpoints",
    "regproxy.runs": "stores records, curves and weights bit for bit",
    "regproxy.storage": "copies files bit for bit",
    "regproxy.train.progress": "reports progress",
}
ONLY_FOR: dict[str, Callable[[Variant], bool]] = {  # modules that some variants import but never call
    "regproxy.model.affinity": lambda variant: variant.model.head == "regproxy",
    "regproxy.model.linear": lambda variant: variant.model.head in ("linear", "regproxy"),
    "regproxy.model.pretrained": lambda variant: variant.model.pretrain != "none",
    "regproxy.model.regproxy": lambda variant: variant.model.head == "regproxy",
    "regproxy.model.segmenter": lambda variant: variant.model.head == "segmenter",
}


@dataclass(frozen=True)
class Purpose:
    """What source code is hashed for: the entry module, and tables that extend the two above."""

    entry: str
    no_numbers: Mapping[str, str]
    only_for: Mapping[str, Callable[[Variant], bool]]

    def uses(self, module: str, variant: Variant) -> bool:
        """Return whether a module can change a number of a variant."""
        if module == self.entry:
            return True
        excluded = NO_NUMBERS.keys() | self.no_numbers.keys()
        if any(module == name or module.startswith(f"{name}.") for name in excluded):
            return False
        condition = {**ONLY_FOR, **self.only_for}.get(module)
        return condition is None or condition(variant)


TRAINING = Purpose(
    "regproxy.train.loop",
    {"regproxy.eval": "validation scores move no weight"},
    {
        "regproxy.model.regions": lambda variant: variant.recipe.region_loss != "none",
        "regproxy.released": lambda variant: variant.model.pretrain == "file",
        "regproxy.released.official_names": lambda variant: variant.model.pretrain == "file",
        "regproxy.train.average": lambda variant: variant.recipe.ema_decay is not None,
        "regproxy.train.combined_loss": lambda variant: not variant.recipe.has_plain_loss,
        "regproxy.train.starting_weights": lambda variant: variant.model.pretrain != "none",
    },
)
SCORING = Purpose(
    "regproxy.runs.scoring",
    {},
    {"regproxy.model.regions": lambda variant: variant.model.head == "regproxy"},
)


def source_hash(variant: Variant, purpose: Purpose, package: Path = _PACKAGE) -> str:
    """Return the SHA-256 of the modules that can change a number of a variant, in hexadecimal.

    Args:
        variant: decides which heads and losses count.
        purpose: TRAINING or SCORING.
        package: folder of the `regproxy` package.
    """
    hashes = {name: _read_module(name, package)[0] for name in used_modules(variant, purpose, package)}
    return hash_json(hashes)


def used_modules(variant: Variant, purpose: Purpose, package: Path = _PACKAGE) -> set[str]:
    """Return the names of the modules that `source_hash` covers."""
    found, pending = set[str](), [purpose.entry]
    while pending:
        module = pending.pop()
        if module not in found and purpose.uses(module, variant):
            found.add(module)
            pending += _read_module(module, package)[1]
    return found


def hash_json(value: Any) -> str:
    """Return the SHA-256 of a JSON value, in hexadecimal; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _read_module(name: str, package: Path) -> tuple[str, frozenset[str]]:
    """Return the hash of a module's syntax tree and the modules of the package that it imports.

    The cache lasts as long as the process: an edit on disk does not change the code that is running.
    """
    file = _file(name, package)
    if file is None:
        raise FileNotFoundError(f"module {name} is missing in {package}")
    tree = ast.parse(file.read_text(encoding="utf-8"))
    imported = {found for found in _imports(tree) if found != "regproxy" and _file(found, package)}
    return hash_json(_canonical(tree)), frozenset(imported)


def _file(module: str, package: Path) -> Path | None:
    path = package.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((file for file in candidates if file.is_file()), None)


def _imports(tree: ast.Module) -> set[str]:
    """Return all modules that may be imported, with their parent packages; functions' imports count too."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError("relative imports are not followed: import by the full name")
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    parts = [name.split(".") for name in names]
    every = {".".join(part[: end + 1]) for part in parts for end in range(len(part))}
    return {name for name in every if name == "regproxy" or name.startswith("regproxy.")}


def _canonical(node: Any) -> Any:
    """Return a syntax tree as JSON, without positions, docstrings and empty fields.

    Newer Python versions add fields that are empty here; leaving them out keeps the hash.
    """
    if isinstance(node, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
        return [type(node).__name__, {name: _canonical(value) for name, value in fields}]
    if isinstance(node, list):
        return [_canonical(item) for item in node if not _is_docstring(item)]
    return repr(node)


def _is_docstring(node: Any) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
