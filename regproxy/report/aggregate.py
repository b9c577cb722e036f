"""From records to scores: what each cell of a profile reached on each data set, over the profile's seeds."""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regproxy.config import Cell
from regproxy.profile import Profile

RECORD_FORMAT = 1
_RESULT_KEYS = ("run_identity", "miou", "num_images", "num_parameters", "gflops_paper")
_RUN_KEYS = ("identity", "cell", "steps", "workers", "data_manifest", "git_commit")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One scored trial: its result record, the folder of its run, and the run record where it is there."""

    result: Mapping[str, Any]
    run: Mapping[str, Any] | None
    run_dir: Path

    @property
    def miou(self) -> float:
        """Mean IoU of the whole split, in percent."""
        return 100 * self.result["miou"]


@dataclass(frozen=True, kw_only=True)
class Score:
    """A cell on one data set: the seeds its profile asks for and the outcomes found among them."""

    cell: Cell
    seeds: tuple[int, ...]
    outcomes: Mapping[int, Outcome]  # by seed

    @property
    def complete(self) -> bool:
        return len(self.outcomes) == len(self.seeds)

    @property
    def summary(self) -> tuple[float, float, float] | None:
        """Median, minimum and maximum of the mIoU in percent; None unless every seed is there."""
        if not self.complete:
            return None
        values = [outcome.miou for outcome in self.outcomes.values()]
        return statistics.median(values), min(values), max(values)

    @property
    def median_seed(self) -> int | None:
        """The seed whose mIoU is the (lower) median of those found; None if there is none."""
        ranked = sorted(self.outcomes, key=lambda seed: (self.outcomes[seed].miou, seed))
        return ranked[(len(ranked) - 1) // 2] if ranked else None

    def first(self, key: str) -> Any:
        """Returns what the first result found says under `key`; None if there is none."""
        return next((outcome.result[key] for outcome in self.outcomes.values()), None)


Scores = Mapping[tuple[str, str], Score]  # by name of cell and of data set


def collect(profile: Profile, *, results_dir: Path, runs_dir: Path) -> dict[tuple[str, str], Score]:
    """Reads the records of every trial that the profile asks for; others are left alone.

    A result of an earlier run than the one that lies in its run folder counts as missing.

    Args:
        profile: decides which cells, data sets and seeds there are, and their order.
        results_dir: holds `<profile>/<data set>/<cell>/<seed>.json`.
        runs_dir: holds `<profile>/<data set>/<cell>/<seed>/run.json`; may be empty.

    Raises:
        ValueError: a record is damaged; names the file and the remedy.
    """
    scores = {}
    for cell in profile.cells:
        place = Path(profile.name, cell.data.name, cell.name)
        outcomes = {}
        for seed in profile.seeds:
            run_dir = Path(runs_dir, place, str(seed))
            result = read_record(Path(results_dir, place, f"{seed}.json"), _RESULT_KEYS)
            run = read_record(run_dir / "run.json", _RUN_KEYS)
            if result and (run is None or run["identity"] == result["run_identity"]):
                outcomes[seed] = Outcome(result=result, run=run, run_dir=run_dir)
        scores[cell.name, cell.data.name] = Score(cell=cell, seeds=profile.seeds, outcomes=outcomes)
    return scores


def read_record(path: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Returns a JSON record, None where there is no file; raises ValueError if it lacks one of `keys`."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise ValueError(_damaged(path, "it is not text")) from None
    try:
        record = json.loads(text)
    except ValueError:
        raise ValueError(_damaged(path, "it is not JSON")) from None
    if not isinstance(record, dict) or record.get("format") != RECORD_FORMAT:
        raise ValueError(_damaged(path, f"it is no record of format {RECORD_FORMAT}"))
    missing = [key for key in keys if key not in record]
    if missing:
        raise ValueError(_damaged(path, f"it lacks {', '.join(missing)}"))
    miou = record.get("miou", 0.0)
    if type(miou) not in (int, float) or not math.isfinite(miou) or not 0 <= miou <= 1:
        raise ValueError(_damaged(path, f"miou {miou!r} is not between 0 and 1"))
    return record


def _damaged(path: Path, reason: str) -> str:
    return f"{path} cannot be used, {reason}; delete it and run `dvc repro`"
