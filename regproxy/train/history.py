"""The curves of a run: one JSON line a report, continued after an interruption without a double step."""

import json
import os
from pathlib import Path
from typing import Any


class History:
    """Appends to `metrics.jsonl`; what was written past `first_step` belongs to lost steps and goes."""

    def __init__(self, path: Path, first_step: int) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [entry for entry in read_history(path) if entry["step"] <= first_step]
        temporary = path.with_name(f".{path.name}.tmp")
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        os.replace(temporary, path)

    def write(self, step: int, **values: float | None) -> None:
        """Appends one line; values that are None are left out."""
        entry = {"step": step, **{name: value for name, value in values.items() if value is not None}}
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def read_history(path: Path) -> list[dict[str, Any]]:
    """Returns the entries of a metrics file, [] where there is none; a half-written last line is left out."""
    entries = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
