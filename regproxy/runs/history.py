"""The curves of a run: JSON lines in `metrics.jsonl`, without duplicates after a resumed training."""

import json
from pathlib import Path
from typing import Any

from regproxy.storage.atomic import atomic_file


class History:
    """Writer of `metrics.jsonl`; drops the lines after `first_step`, whose steps are trained again."""

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        kept = [entry for entry in _read_lines(path) if entry["step"] <= first_step]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._validated = {entry["step"] for entry in kept if "val_miou" in entry}
        self.last_loss = next((entry["loss"] for entry in reversed(kept) if "loss" in entry), float("nan"))

    def write(self, step: int, **values: float) -> None:
        """Append the measurements after `step` steps as one line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def has_validation(self, step: int) -> bool:
        """Return whether the file held a validation score of `step` when it was opened."""
        return step in self._validated


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return one mapping per reported step, in order: step, loss, learning_rate, images_per_second, val_miou.

    Return [] if there is no file. A truncated last line is ignored.
    """
    by_step: dict[int, dict[str, Any]] = {}
    for entry in _read_lines(path):
        by_step.setdefault(entry["step"], {}).update(entry)
    return list(by_step.values())


def _read_lines(path: Path) -> list[dict[str, Any]]:
    entries = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
