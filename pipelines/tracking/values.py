"""What MLflow shows of the records: names and values of scores, curves and parameters; imports no mlflow."""

import re
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from regproxy.config.variant import Variant
from regproxy.train.progress import Progress

CURVES = ("loss", "learning_rate", "images_per_second", "val_miou")
_SCORES = ("miou", "boundary_iou", "pixel_accuracy", "mean_accuracy", "region_entropy")
_REFUSED = re.compile(r"[^\w. -]")  # by MLflow; it allows / and :, which have a meaning here
_MAX_NAME = 150  # characters of a class; MLflow's limit for a whole name is 250


def scores(result: dict[str, Any]) -> dict[str, float]:
    """Return the scores of a result record by their names in MLflow; IoUs and accuracies in 0..1."""
    found = {name: result.get(name) for name in _SCORES}
    found["multi_scale_miou"] = (result.get("multi_scale") or {}).get("miou")
    for name, value in zip(class_names(result["classes"]), result["iou_per_class"], strict=True):
        found[f"iou/{name}"] = value
    return {name: value for name, value in found.items() if isinstance(value, int | float)}


def class_names(classes: Sequence[str]) -> list[str]:
    """Return a name that MLflow accepts for every class of a data set; no two are equal.

    Other characters than letters, digits, `_`, `.`, `-` and spaces become `_`. Where two names would be
    equal, each also gets the class's number: `a [b]` and `a (b)` become `a _b_:4` and `a _b_:5`.
    """
    names = [_REFUSED.sub("_", name)[:_MAX_NAME].strip() for name in classes]
    names = [name if name.strip(".") else "_" * max(len(name), 1) for name in names]  # not a path like `..`
    counts = Counter(names)
    return [name if counts[name] == 1 else f"{name}:{number}" for number, name in enumerate(names)]


def seed_statistics(results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return median, min and max of every score of a variant over the result records of its seeds.

    The median has the name that the score has in the run of a seed; the others are `miou min` and
    `iou max/road`. The mIoU is there a second time, as `all/miou`: MLflow shows the charts of `all` first.
    """
    values: dict[str, list[float]] = {}
    for result in results:
        for name, value in scores(result).items():
            values.setdefault(name, []).append(value)
    combined = {name: statistics.median(found) for name, found in values.items()}
    for name, found in values.items():
        first, slash, rest = name.partition("/")
        combined[f"{first} min{slash}{rest}"] = min(found)
        combined[f"{first} max{slash}{rest}"] = max(found)
    first = {f"all/{name}": combined[name] for name in ("miou", "miou min", "miou max") if name in combined}
    return first | combined


def flatten(mapping: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def settings(variant: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings of a variant by dotted key, such as recipe.steps, and its name as `variant`."""
    flat = flatten(variant)
    return {"variant": flat.pop("name"), **flat}


def different_settings(variant: Variant, variants: Iterable[Variant]) -> dict[str, Any]:
    """Return the settings of a variant, by dotted key, that are not the same in all `variants`."""
    own, others = settings(variant.to_dict()), [settings(other.to_dict()) for other in variants]
    return {key: value for key, value in own.items() if any(other.get(key) != value for other in others)}


def progress_entry(progress: Progress) -> dict[str, Any]:
    """Return the line of metrics.jsonl that belongs to a report."""
    keys = ("val_miou",) if progress.val_miou is not None else CURVES[:-1]
    values = {key: getattr(progress, key) for key in keys}
    measured = {key: value for key, value in values.items() if value is not None}
    return {"step": progress.step, "time": progress.time, **measured}


def start_time(record: dict[str, Any]) -> float:
    """Return when the training of a run record started, in seconds since 1970."""
    if "started" in record:
        return datetime.fromisoformat(record["started"]).timestamp()
    return end_time(record) - record.get("seconds", 0.0)  # a record of an earlier version


def end_time(record: dict[str, Any]) -> float:
    """Return when the training of a run record ended, in seconds since 1970."""
    return datetime.fromisoformat(record["finished"]).timestamp()


def score_time(result: dict[str, Any]) -> float:
    """Return when a result record was made, in seconds since 1970; now for one of an earlier version."""
    return datetime.fromisoformat(result["scored"]).timestamp() if "scored" in result else time.time()
