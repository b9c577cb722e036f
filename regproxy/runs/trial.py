"""A trial: a variant with a seed, where its data and its run lie, and the hash that says what it is."""

import hashlib
import json
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from regproxy.config.variant import Variant
from regproxy.data.prepared import data_digest
from regproxy.model.pretrained import ensure_weights
from regproxy.runs.fingerprint import source_digest
from regproxy.storage.json_file import write_json
from regproxy.storage.remote import file_sha256 as file_digest

RECORD_FORMAT = 1
_TRAINING = ("config.py", "data", "model", "train")  # what can change a trained weight


@dataclass(frozen=True)
class Trial:
    """One training to be done: places are URLs, or paths that are absolute or from the working directory."""

    profile: str
    variant: Variant
    seed: int
    data_dir: str
    run_dir: str
    pretrained_dir: str = "data/pretrained"

    @property
    def name(self) -> str:
        return f"{self.variant.data.name}/{self.variant.name}/{self.seed}"

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the variant, the seed, the data's manifest and the source that trains."""
        parts = (
            self.variant.digest(),
            str(self.seed),
            data_digest(self.data_dir),
            source_digest(*_TRAINING),
        )
        if (
            self.variant.model.pretrain == "file"
        ):  # timm's weights are what their name says, a user's may change
            parts += (file_digest(ensure_weights(self.variant.model, Path(self.pretrained_dir))),)
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    def finished_record(self) -> dict[str, Any] | None:
        """Returns run.json if this very trial has finished in its local folder, else None."""
        try:
            record = json.loads((Path(self.run_dir) / "run.json").read_text())
        except (OSError, ValueError):
            return None
        whole = (Path(self.run_dir) / "model.safetensors").exists()
        return record if whole and record.get("fingerprint") == self.fingerprint else None

    def write_record(self, measured: dict[str, Any], git_commit: str | None) -> dict[str, Any]:
        """Writes run.json, the mark that the trial is done, and returns it."""
        record = {
            "format": RECORD_FORMAT,
            "fingerprint": self.fingerprint,
            "profile": self.profile,
            "dataset": self.variant.data.name,
            "variant": self.variant.to_dict(),
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
