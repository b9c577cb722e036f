"""The trials of a search: one `trial.json` in each run folder, and `result.json` of the whole search."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from regproxy.config.search import Search
from regproxy.config.variant import Variant
from regproxy.errors import DataError
from regproxy.runs.record import RECORD_FORMAT, read_record
from regproxy.storage.json_file import write_json
from regproxy.storage.remote import Storage

TRIAL, RESULT = "trial.json", "result.json"


@dataclass(frozen=True, kw_only=True)
class SearchTrial:
    """One trial of a search on one data set.

    Attributes:
        number: 0, 1, ... on this data set.
        values: the drawn value of each searched setting.
        fingerprint: identifies the training, its scoring and the search that drew the values.
        state: `started` until the trial has ended.
        steps: number of trained steps at the last report.
        validations: steps and mIoU (0..1) of each validation, in order.
        error: why a failed trial failed.
    """

    number: int
    values: Mapping[str, Any]
    fingerprint: str
    state: Literal["started", "finished", "stopped early", "failed"] = "started"
    steps: int = 0
    validations: tuple[tuple[int, float], ...] = ()
    error: str | None = None

    @property
    def val_miou(self) -> float | None:
        """The mIoU (0..1) of the last validation, None before the first."""
        return self.validations[-1][1] if self.validations else None

    def to_dict(self) -> dict[str, Any]:
        """Return the trial as JSON values."""
        return {"format": RECORD_FORMAT, **json.loads(json.dumps(asdict(self))), "val_miou": self.val_miou}

    def write(self, run: Storage) -> None:
        """Write the trial to its run folder."""
        run.write(TRIAL, (json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n").encode())


def read_trial(run: Storage) -> SearchTrial | None:
    """Return the trial in a run folder; None if there is none or if another version wrote it."""
    content = run.read_json(TRIAL) or {}
    if content.pop("format", None) != RECORD_FORMAT:
        return None
    content.pop("val_miou", None)
    try:
        trial = SearchTrial(**content)
        return SearchTrial(**{**content, "validations": tuple(map(tuple, trial.validations))})
    except TypeError:
        return None


def best_trial(trials: Iterable[SearchTrial]) -> SearchTrial | None:
    """Return the finished trial with the highest mIoU of its last validation, the first of equal ones."""
    finished = [trial for trial in trials if trial.state == "finished" and trial.val_miou is not None]
    return max(finished, key=lambda trial: (trial.val_miou, -trial.number), default=None)


def profile_lines(variant: Variant, values: Mapping[str, Any]) -> str:
    """Return the lines of a profile that give a variant these values on its data set.

    A model has the same settings on all data sets, a recipe need not.
    """
    fields = variant.to_dict()
    model = {key: value for key, value in values.items() if key in fields["model"]}
    recipe = {key: value for key, value in values.items() if key in fields["recipe"]}
    overrides = {"by_dataset": {variant.data.name: {"recipe": recipe}}} if recipe else {}
    content = {"variants": {variant.name: {**model, **overrides}}}
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=None).rstrip("\n")


def write_result(
    path: Path,
    profile: str,
    search: Search | None = None,
    starts: Sequence[Variant] = (),
    trials: Mapping[str, Sequence[SearchTrial]] | None = None,
) -> None:
    """Write the result of a search: the settings, and for each data set all trials and the best one.

    Args:
        search: None for a profile without a search.
        starts: the searched variant on each data set.
        trials: the trials by data set.
    """
    datasets = {}
    for start in starts:
        found = trials[start.data.name]
        best = best_trial(found)
        datasets[start.data.name] = {
            "trials": [trial.to_dict() for trial in found],
            "best": best and best.number,
            "profile_lines": best and profile_lines(start, best.values),
        }
    settings = search and json.loads(json.dumps(asdict(search)))
    content = {"format": RECORD_FORMAT, "profile": profile, "search": settings, "split": "val"}
    write_json(path, {**content, "datasets": datasets})


def read_result(path: Path) -> dict[str, Any]:
    """Return the result of a search, with `datasets` empty if the file is missing.

    Raises:
        DataError: the file is damaged; the message has the remedy.
    """
    if not path.exists():
        return {"search": None, "datasets": {}}
    record = read_record(path) or {}
    if record.get("format") != RECORD_FORMAT or not {"search", "datasets"} <= record.keys():
        raise DataError(f"{path} is damaged. Delete it and run `dvc repro`.")
    return record
