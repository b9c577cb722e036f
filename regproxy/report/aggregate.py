"""Read the records of a profile and summarise the scores of each variant on each data set over its seeds."""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from regproxy.config.profile import Profile
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError, DataError
from regproxy.eval.image_confusions import ImageConfusions, unpack
from regproxy.runs.record import RECORD_FORMAT

_RESULT_KEYS = ("run_fingerprint", "miou", "num_images")
_RUN_KEYS = ("fingerprint", "variant", "steps", "workers", "data_manifest", "git_commit")

Metric = Literal["miou", "multi_scale_miou", "boundary_iou", "region_entropy"]


@dataclass(frozen=True, kw_only=True)
class ScoredTrial:
    """A trial that has been scored.

    `metrics` has those that were measured: IoU of the whole split in percent, entropy in nats. `result` is
    the result record in `result_file`. `run` is the run record, None if `run_dir` holds none.
    """

    metrics: Mapping[Metric, float]
    result: Mapping[str, Any]
    result_file: Path
    run: Mapping[str, Any] | None
    run_dir: Path

    def image_confusions(self) -> ImageConfusions | None:
        """Return the confusion matrix of every image; None if the record has none.

        Raises:
            DataError: the record is damaged; the message has the file and the remedy.
        """
        text, classes = self.result.get("confusion_per_image"), self.result.get("classes")
        if text is None:
            return None
        try:
            return unpack(text, self.result["num_images"], len(classes) if isinstance(classes, list) else 0)
        except DataError as error:
            raise _damaged(self.result_file, str(error)) from None


@dataclass(frozen=True, kw_only=True)
class Score:
    """A variant on one data set: the seeds of its profile, and those trials among them that are scored."""

    variant: Variant
    seeds: tuple[int, ...]
    trials: Mapping[int, ScoredTrial]  # seed -> trial

    def values(self, metric: Metric = "miou") -> list[float]:
        """Return the metric of every trial that has it, in the order of the seeds."""
        return [trial.metrics[metric] for trial in self.trials.values() if metric in trial.metrics]

    def summary(self, metric: Metric = "miou") -> tuple[float, float, float] | None:
        """Return median, minimum and maximum of a metric; None unless every seed has it."""
        values = self.values(metric)
        if len(values) != len(self.seeds):
            return None
        return statistics.median(values), min(values), max(values)

    def median(self, metric: Metric = "miou") -> float | None:
        """Return the median of a metric; None unless every seed has it."""
        summary = self.summary(metric)
        return summary and summary[0]

    @property
    def median_seed(self) -> int | None:
        """Seed of the scored trial with the median mIoU, the lower of two; None if no trial is scored."""
        ranked = [(trial.metrics["miou"], seed) for seed, trial in self.trials.items()]
        return statistics.median_low(ranked)[1] if ranked else None


Scores = Mapping[tuple[str, str], Score]  # (variant, data set) -> score
Complexity = Mapping[str, Mapping[str, Any]]  # variant -> params, gflops_paper, gmacs


def collect(profile: Profile, *, results_dir: Path, runs_dir: Path) -> dict[tuple[str, str], Score]:
    """Read the records of every trial of a profile; files of other trials are ignored.

    A result counts as missing if it belongs to another run than the one in its run folder, or if that run
    had another model, recipe or classes than the profile has now.

    Args:
        profile: gives variants, data sets and seeds, and their order.
        results_dir: holds `<profile>/<data set>/<variant>/<seed>.json`.
        runs_dir: holds `<profile>/<data set>/<variant>/<seed>/run.json`; may be empty.

    Raises:
        DataError: a record is damaged; the message has the file and the remedy.
    """
    scores = {}
    for variant in profile.variants:
        folder = Path(profile.name, variant.data.name, variant.name)
        trials = {}
        for seed in profile.seeds:
            result_file, run_dir = results_dir / folder / f"{seed}.json", runs_dir / folder / str(seed)
            result = _load_record(result_file, _RESULT_KEYS)
            run = _load_record(run_dir / "run.json", _RUN_KEYS)
            if result is None:
                continue
            metrics = _metrics(result, result_file)
            if run is None or _is_current(result, run, variant):
                trials[seed] = ScoredTrial(
                    metrics=metrics, result=result, result_file=result_file, run=run, run_dir=run_dir
                )
        scores[variant.name, variant.data.name] = Score(variant=variant, seeds=profile.seeds, trials=trials)
    return scores


def read_complexity(path: Path) -> dict[str, dict[str, Any]]:
    """Read the complexity of each variant's network, by name of variant; return {} if there is no file.

    Raises:
        DataError: the file is damaged; the message has the file and the remedy.
    """
    record = _load_record(path, ("variants",))
    variants = record["variants"] if record else {}
    if not isinstance(variants, dict):
        raise _damaged(path, "expected a mapping under `variants`")
    for name, variant in variants.items():
        for key in ("params", "gflops_paper", "gmacs"):
            value = variant.get(key) if isinstance(variant, dict) else None
            _check_number(path, f"{key} of variant {name}", value)
    return variants


def _load_record(path: Path, keys: tuple[str, ...]) -> dict[str, Any] | None:
    """Return a JSON record, None if there is no file; raise DataError unless it has all `keys`."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise _damaged(path, "expected UTF-8 text") from None
    except ValueError:
        raise _damaged(path, "expected JSON") from None
    if not isinstance(record, dict) or record.get("format") != RECORD_FORMAT:
        raise _damaged(path, f"expected a record of format {RECORD_FORMAT}")
    missing = [key for key in keys if key not in record]
    if missing:
        raise _damaged(path, f"keys are missing: {', '.join(missing)}")
    return record


def _metrics(result: Mapping[str, Any], path: Path) -> dict[Metric, float]:
    """Return the metrics of a result record; raise DataError for an impossible value or a missing mIoU."""
    multi_scale = result.get("multi_scale")
    stored: dict[Metric, Any] = {
        "miou": result["miou"],
        "multi_scale_miou": multi_scale.get("miou") if isinstance(multi_scale, dict) else multi_scale,
        "boundary_iou": result.get("boundary_iou"),
        "region_entropy": result.get("region_entropy"),
    }
    metrics = {}
    for metric, value in stored.items():
        if value is not None or metric == "miou":
            is_share = metric != "region_entropy"
            _check_number(path, metric, value, high=1 if is_share else math.inf)
            metrics[metric] = 100 * value if is_share else value
    return metrics


def _is_current(result: Mapping[str, Any], run: Mapping[str, Any], variant: Variant) -> bool:
    """Return whether a result belongs to this run, and the run to the variant as the profile has it now."""
    try:
        trained = Variant.from_dict(run["variant"])
    except ConfigError:  # a record of an older version
        return False
    return run["fingerprint"] == result["run_fingerprint"] and trained.fingerprint() == variant.fingerprint()


def _check_number(path: Path, name: str, value: object, high: float = math.inf) -> None:
    """Raise DataError unless a value of the file `path` is a finite number in 0..`high`."""
    if type(value) not in (int, float) or not math.isfinite(value) or not 0 <= value <= high:
        allowed = "at least 0" if high == math.inf else f"in 0..{high}"
        raise _damaged(path, f"{name}: expected a number {allowed}; got {value!r}")


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path} is damaged: {reason}. Delete it and run `dvc repro`.")
