"""A trial: a cell with a seed, where its data and its run lie, and the hash that says what it is."""

import hashlib
import json
import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import regproxy
from regproxy.config import Cell
from regproxy.data.cache import data_digest
from regproxy.model.pretrained import ensure_weights
from regproxy.train.state import file_digest

RECORD_FORMAT = 1
_TRAINING = ("config.py", "data", "model", "train")  # what can change a trained weight


@dataclass(frozen=True)
class Trial:
    """One training to be done: places are URLs, or paths that are absolute or from the working directory."""

    profile: str
    cell: Cell
    seed: int
    data_dir: str
    run_dir: str
    pretrained_dir: str = "data/pretrained"

    @property
    def name(self) -> str:
        return f"{self.cell.data.name}/{self.cell.name}/{self.seed}"

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the cell, the seed, the data's manifest and the source that trains."""
        parts = (
            self.cell.digest(),
            str(self.seed),
            data_digest(self.data_dir),
            source_digest(*_TRAINING),
        )
        if self.cell.model.pretrain == "file":  # timm's weights are what their name says, a user's may change
            parts += (file_digest(ensure_weights(self.cell.model, Path(self.pretrained_dir))),)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def finished_record(self) -> dict[str, Any] | None:
        """Returns run.json if this very trial has finished in its local folder, else None."""
        try:
            record = json.loads((Path(self.run_dir) / "run.json").read_text())
        except (OSError, ValueError):
            return None
        whole = (Path(self.run_dir) / "model.safetensors").exists()
        return record if whole and record.get("identity") == self.identity else None

    def write_record(self, measured: dict[str, Any], git_commit: str | None) -> dict[str, Any]:
        """Writes run.json, the mark that the trial is done, and returns it."""
        record = {
            "format": RECORD_FORMAT,
            "identity": self.identity,
            "profile": self.profile,
            "dataset": self.cell.data.name,
            "cell": self.cell.to_dict(),
            "seed": self.seed,
            **measured,
            "data_manifest": data_digest(self.data_dir),
            "git_commit": git_commit,
            "versions": {
                "python": platform.python_version(),
                **{name: version(name) for name in ("torch", "timm", "regproxy")},
            },
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(Path(self.run_dir) / "run.json", record)
        return record


def source_digest(*parts: str) -> str:
    """SHA-256 over the source of parts of this package: files or folders, by their names below it."""
    root = Path(regproxy.__file__).parent
    files = [path for part in parts for path in sorted([root / part, *(root / part).rglob("*.py")])]
    total = hashlib.sha256()
    for path in files:
        if path.is_file():
            total.update(path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes a JSON file so that it is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)
