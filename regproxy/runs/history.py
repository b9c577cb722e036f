"""The curves of a run: one JSON line a report, continued after an interruption without a double step.

A training that stops between two reports leaves a line of its own, with the losses since the last one, so
that the next report has the mean that it would have had.
"""

import json
import os
from pathlib import Path
from typing import Any


class History:
    """Appends to `metrics.jsonl`; what was written past `first_step` belongs to lost steps and goes.

    `open_losses` are those of the steps before `first_step` that no report has told yet.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [entry for entry in _read(path) if entry["step"] <= first_step]
        newest = kept[-1] if kept else {}
        self.open_losses: list[float] = (
            newest.get("open_losses", []) if newest.get("step") == first_step else []
        )
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        os.replace(temporary, path)

    def write(self, step: int, **values: float | None) -> None:
        """Appends one line; values that are None are left out."""
        self._append({"step": step, **{name: value for name, value in values.items() if value is not None}})
        self.open_losses = []

    def suspend(self, step: int, losses: list[float]) -> None:
        """Notes the losses since the last report, where a training stops between two of them."""
        self._append({"step": step, "open_losses": losses})

    def _append(self, entry: dict[str, Any]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the reports in a metrics file, [] where there is none; a half-written last line is left out."""
    return [entry for entry in _read(path) if "open_losses" not in entry]


def _read(path: Path) -> list[dict[str, Any]]:
    entries = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
