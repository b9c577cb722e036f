"""From records to scores: what each variant of a profile reached on each data set, over its seeds."""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regproxy.config.profile import Profile
from regproxy.config.variant import Variant

RECORD_FORMAT = 1
_RESULT_KEYS = ("run_fingerprint", "miou", "num_images")
_RUN_KEYS = ("fingerprint", "variant", "steps", "workers", "data_manifest", "git_commit")
_COMPLEXITY_KEYS = ("params", "gflops_paper", "gmacs")

Metric = Literal["miou", "multi_scale_miou", "region_entropy"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One scored trial: its result record, the folder of its run, and the run record where it is there."""

    result: Mapping[str, Any]
    run: Mapping[str, Any] | None
    run_dir: Path

    def value(self, metric: Metric) -> float | None:
        """Returns mIoU of the whole split in percent, or entropy in nats; None if it was not measured."""
        raw = _raw(self.result, metric)
        return raw if raw is None or metric == "region_entropy" else 100 * raw


@dataclass(frozen=True, kw_only=True)
class Score:
    """A variant on one data set: the seeds its profile asks for and the outcomes found among them."""

    variant: Variant
    seeds: tuple[int, ...]
    outcomes: Mapping[int, Outcome]  # by seed

    def values(self, metric: Metric = "miou") -> list[float]:
        """Returns the metric of every outcome that has it."""
        found = (outcome.value(metric) for outcome in self.outcomes.values())
        return [value for value in found if value is not None]

    def summary(self, metric: Metric = "miou") -> tuple[float, float, float] | None:
        """Returns median, minimum and maximum of a metric; None unless every seed has it."""
        values = self.values(metric)
        if len(values) != len(self.seeds):
            return None
        return statistics.median(values), min(values), max(values)

    def median(self, metric: Metric = "miou") -> float | None:
        """Returns the median of a metric; None unless every seed has it."""
        summary = self.summary(metric)
        return summary and summary[0]

    @property
    def median_seed(self) -> int | None:
        """The seed whose mIoU is the (lower) median of those found; None if there is none."""
        ranked = sorted(self.outcomes, key=lambda seed: (self.outcomes[seed].value("miou"), seed))
        return ranked[(len(ranked) - 1) // 2] if ranked else None


Scores = Mapping[tuple[str, str], Score]  # by name of variant and of data set
Complexity = Mapping[str, Mapping[str, Any]]  # by name of variant: params, gflops_paper, gmacs


def collect(profile: Profile, *, results_dir: Path, runs_dir: Path) -> dict[tuple[str, str], Score]:
    """Reads the records of every trial that the profile asks for; others are left alone.

    A result of an earlier run than the one that lies in its run folder counts as missing, and so does one of
    a run with another model, recipe or classes than the profile has now.

    Args:
        profile: decides which variants, data sets and seeds there are, and their order.
        results_dir: holds `<profile>/<data set>/<variant>/<seed>.json`.
        runs_dir: holds `<profile>/<data set>/<variant>/<seed>/run.json`; may be empty.

    Raises:
        ValueError: a record is damaged; names the file and the remedy.
    """
    scores = {}
    for variant in profile.variants:
        place = Path(profile.name, variant.data.name, variant.name)
        outcomes = {}
        for seed in profile.seeds:
            run_dir = Path(runs_dir, place, str(seed))
            result = _read_result(Path(results_dir, place, f"{seed}.json"))
            run = read_record(run_dir / "run.json", _RUN_KEYS)
            if result and (run is None or _is_result_of(result, run, variant)):
                outcomes[seed] = Outcome(result=result, run=run, run_dir=run_dir)
        scores[variant.name, variant.data.name] = Score(
            variant=variant, seeds=profile.seeds, outcomes=outcomes
        )
    return scores


def read_complexity(path: Path) -> dict[str, dict[str, Any]]:
    """Reads what each variant's network costs, by name of variant; nothing where there is no file.

    Raises:
        ValueError: the file is damaged; names it and the remedy.
    """
    record = read_record(path, ("variants",))
    variants = record["variants"] if record else {}
    if not isinstance(variants, dict):
        raise ValueError(_damaged(path, "its variants are no mapping"))
    for name, variant in variants.items():
        for key in _COMPLEXITY_KEYS:
            value = variant.get(key) if isinstance(variant, dict) else None
            if not _is_number(value) or value < 0:
                raise ValueError(_damaged(path, f"{key} of variant {name} is no number"))
    return variants


def read_record(path: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Returns a JSON record, None where there is no file; raises ValueError if it lacks one of `keys`."""
    try:
        text = path.read_text(encoding="utf-8")
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
    return record


def _read_result(path: Path) -> dict[str, Any] | None:
    result = read_record(path, _RESULT_KEYS)
    if result is None:
        return None
    for metric, limit in (("miou", 1.0), ("multi_scale_miou", 1.0), ("region_entropy", math.inf)):
        value = _raw(result, metric)
        if metric != "miou" and value is None:
            continue
        if not _is_number(value) or not 0 <= value <= limit:
            allowed = "a number of 0 or more" if limit == math.inf else "between 0 and 1"
            raise ValueError(_damaged(path, f"{metric} {value!r} is not {allowed}"))
    return result


def _is_result_of(result: Mapping[str, Any], run: Mapping[str, Any], variant: Variant) -> bool:
    """Whether a result is that of the run beside it, and the run that of the variant as it is now."""
    try:
        trained = Variant.from_dict(run["variant"])
    except (ValueError, TypeError, KeyError, AttributeError):  # as an older version wrote it
        return False
    return run["fingerprint"] == result["run_fingerprint"] and trained.digest() == variant.digest()


def _raw(result: Mapping[str, Any], metric: Metric) -> Any:
    """Returns what a result record says of a metric; only the mIoU stands in every record."""
    if metric == "multi_scale_miou":
        multi_scale = result.get("multi_scale")
        return multi_scale.get("miou") if isinstance(multi_scale, dict) else multi_scale
    return result.get(metric)


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _damaged(path: Path, reason: str) -> str:
    return f"{path} cannot be used, {reason}; delete it and run `dvc repro`"
