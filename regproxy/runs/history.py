"""The curves of a run: JSON lines in `metrics.jsonl`, without duplicates after a resumed training.

The first line says when the training `started`. Every other line holds measurements after `step` steps and
the `time` of its report. Both times are in seconds since 1970.
"""

import json
import time
from pathlib import Path
from typing import Any

from regproxy.storage.atomic import atomic_file


class History:
    """Writer of `metrics.jsonl`; drops the lines after `first_step`, whose steps are trained again.

    `started` is the start of the first attempt, or now if no earlier attempt left a checkpoint.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        earlier = read_entries(path) if first_step else []
        kept = [entry for entry in earlier if entry["step"] <= first_step]
        self.started: float = next((entry["started"] for entry in kept if "started" in entry), time.time())
        kept = [{"step": 0, "started": self.started}, *(entry for entry in kept if "started" not in entry)]
        with atomic_file(path) as temporary:
            temporary.write_text("".join(json.dumps(entry) + "\n" for entry in kept))
        self._validated = {entry["step"] for entry in kept if "val_miou" in entry}
        self.last_loss = next((entry["loss"] for entry in reversed(kept) if "loss" in entry), float("nan"))

    def write(self, step: int, *, time: float, **values: float) -> None:
        """Append the measurements after `step` steps, reported at `time`, as one line."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, "time": time, **values}) + "\n")

    def has_validation(self, step: int) -> bool:
        """Return whether the file held a validation score of `step` when it was opened."""
        return step in self._validated


def read_history(path: Path) -> list[dict[str, Any]]:
    """Return one mapping per reported step, in order: step, loss, learning_rate, images_per_second, val_miou.

    Return [] if there is no file. A truncated last line is ignored.
    """
    by_step: dict[int, dict[str, Any]] = {}
    for entry in read_entries(path):
        if "started" not in entry:
            measured = {key: value for key, value in entry.items() if key != "time"}
            by_step.setdefault(entry["step"], {}).update(measured)
    return list(by_step.values())


def read_entries(path: Path) -> list[dict[str, Any]]:
    """Return the lines of the file in order; [] if there is no file. A truncated last line is ignored."""
    entries = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries
