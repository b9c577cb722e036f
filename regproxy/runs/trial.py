"""A trial: a variant with a seed, where its data and its run lie, and the fingerprint of its training."""

import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from regproxy.config.variant import Variant
from regproxy.data.prepared import data_sha256
from regproxy.model.pretrained import ensure_weights
from regproxy.runs.fingerprint import TRAINING, hash_json, source_hash
from regproxy.runs.record import RECORD_FORMAT, read_record, software_versions
from regproxy.storage.hashing import file_sha256
from regproxy.storage.json_file import write_json


@dataclass(frozen=True)
class Workspace:
    """Where one trial finds its data and weights and keeps its run: URLs, or paths of folders."""

    data_dir: str
    run_dir: str
    pretrained_dir: str = "data/pretrained"


@dataclass(frozen=True)
class Trial:
    """One training to be done, and the workspace in which it is done."""

    profile: str
    variant: Variant
    seed: int
    workspace: Workspace

    def moved(self, **folders: str) -> "Trial":
        """Return the trial with other folders; the keywords are fields of `Workspace`."""
        return replace(self, workspace=replace(self.workspace, **folders))

    @property
    def name(self) -> str:
        """The trial's name for messages: data set, variant and seed."""
        return f"{self.variant.data.name}/{self.variant.name}/{self.seed}"

    @cached_property
    def fingerprint_parts(self) -> dict[str, Any]:
        """Everything that can move a trained weight: hashes of variant, data, weights and source; the seed.

        `weights` is the SHA-256 of a user's own file. It is None for timm's weights, which their name in the
        variant identifies.

        Raises:
            DataError: the data set is not prepared, or a file of weights is missing.
        """
        model, weights = self.variant.model, None
        if model.pretrain == "file":
            weights = file_sha256(ensure_weights(model, Path(self.workspace.pretrained_dir)))
        return {
            "variant": self.variant.fingerprint(),
            "seed": self.seed,
            "data": data_sha256(self.workspace.data_dir),
            "weights": weights,
            "source": source_hash(self.variant, TRAINING),
        }

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of `fingerprint_parts`, in hexadecimal; it connects records and checkpoints to a trial."""
        return hash_json(self.fingerprint_parts)

    def finished_record(self) -> dict[str, Any] | None:
        """Return run.json if this trial has finished in its local run folder; None if it has not."""
        record = read_record(Path(self.workspace.run_dir) / "run.json")
        finished = record is not None and (Path(self.workspace.run_dir) / "model.safetensors").exists()
        return record if finished and record.get("fingerprint") == self.fingerprint else None

    def write_record(self, measured: dict[str, Any], git_commit: str | None) -> dict[str, Any]:
        """Write run.json, which marks the trial as finished, and return its content.

        Args:
            measured: what the training measured; its keys become keys of the record.
            git_commit: commit of the source code, None outside of a repository.
        """
        record = {
            "format": RECORD_FORMAT,
            "fingerprint": self.fingerprint,
            "fingerprint_parts": self.fingerprint_parts,
            "profile": self.profile,
            "dataset": self.variant.data.name,
            "variant": self.variant.to_dict(),
            "seed": self.seed,
            **measured,
            "data_manifest": self.fingerprint_parts["data"],
            "git_commit": git_commit,
            "versions": software_versions(),
            "host": socket.gethostname(),
            "finished": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        write_json(Path(self.workspace.run_dir) / "run.json", record)
        return record
