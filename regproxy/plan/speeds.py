"""Training speed of a variant in images per second of one GPU: measured, or assumed from its multiply-adds.

The assumption: training takes three times the multiply-adds of a forward pass (the backward pass takes two),
a multiply-add is two operations, and a GPU reaches a fixed share of its peak (MFU, model FLOPs utilisation).
"""

import dataclasses
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from regproxy.config.parse import check_range
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError
from regproxy.plan.complexity import build_on_meta, gmacs

PEAK_TFLOPS = {"bf16": 312.0, "float32": 19.5}  # NVIDIA A100, dense; its data sheet
_OPERATIONS_PER_MAC = 3 * 2  # a forward pass and two for the backward pass, of two operations each
Source = Literal["measured", "assumed"]


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Values that a plan uses where nothing was measured."""

    tflops: float | None = (
        None  # peak of one GPU, 10^12 operations/s; None: an A100 at the recipe's precision
    )
    mfu: float = 0.35  # share of the peak that training reaches
    efficiency: float = 0.9  # speed that each worker after the first adds, as a share of the first one's
    startup_seconds: float = 30.0  # before each training

    def __post_init__(self) -> None:
        check_range(self, "tflops", low=0, above=True)
        check_range(self, "mfu", "efficiency", low=0, high=1, above=True)
        check_range(self, "startup_seconds", low=0)

    def peak_tflops(self, precision: str) -> float:
        """Return the peak of one GPU at a recipe's precision, in 10^12 operations per second."""
        return self.tflops or PEAK_TFLOPS[precision]

    def speed_up(self, workers: int) -> float:
        """Return the speed of some workers as a multiple of the speed of one."""
        return 1 + self.efficiency * (workers - 1)


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Measured images per second of one GPU.

    The keys of `given` are names of a variant or an architecture, also as `<data set>/<name>`. The keys of
    `recorded` are fingerprints of variants.
    """

    given: Mapping[str, float] = field(default_factory=dict)
    recorded: Mapping[str, float] = field(default_factory=dict)

    def of(self, variant: Variant, assumptions: Assumptions) -> tuple[float, Source]:
        """Return a variant's images per second of one GPU and their source."""
        for name in speed_names(variant):
            if name in self.given:
                return self.given[name], "measured"
        recorded = self.recorded.get(variant.fingerprint())
        return (recorded, "measured") if recorded else (assumed_speed(variant, assumptions), "assumed")


def speed_names(variant: Variant) -> list[str]:
    """Return the names under which a speed of this variant may be given, the most specific first."""
    return [
        f"{prefix}{name}"
        for name in (variant.name, variant.model.arch)
        for prefix in (f"{variant.data.name}/", "")
    ]


def assumed_speed(variant: Variant, assumptions: Assumptions) -> float:
    """Return the assumed images per second of one GPU for a variant's network."""
    operations = _OPERATIONS_PER_MAC * crop_gmacs(variant)  # in 10^9 for one image
    return assumptions.peak_tflops(variant.recipe.precision) * 1e3 * assumptions.mfu / operations


def read_speeds(path: Path) -> dict[str, float]:
    """Read a JSON object of images per second of one GPU by variant or architecture; `plan` checks the names.

    Raises:
        ConfigError: the file is missing or is not a JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"{path} cannot be read. Give a JSON file of speeds.") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not valid JSON: {error}. Correct it.") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} is not a JSON object. Write {{variant or architecture: images per second}}."
        )
    return content


def recorded_speeds(runs: Path, assumptions: Assumptions) -> dict[str, float]:
    """Return the median images per second of one GPU over the run records below `runs`, by fingerprint."""
    found: dict[str, list[float]] = {}
    for path in sorted(runs.glob("**/run.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            fingerprint = Variant.from_dict(record["variant"]).fingerprint()
            speed, workers = record["images_per_second"], record["workers"]
        except (ValueError, KeyError, ConfigError):
            continue  # a record of another version cannot match a variant of this one
        if speed > 0:
            found.setdefault(fingerprint, []).append(speed / assumptions.speed_up(workers))
    return {fingerprint: statistics.median(values) for fingerprint, values in found.items()}


def crop_gmacs(variant: Variant) -> float:
    """Return 10^9 multiply-adds of a forward pass on one training crop; cached for each network."""
    tap = None if variant.model.tap is None else 0
    model = dataclasses.replace(variant.model, pretrain="none", weights=None, drop_path=0.0, tap=tap)
    data = dataclasses.replace(variant.data, name="", root="")
    recipe = Recipe(steps=1, crop=variant.recipe.crop, scale=variant.recipe.crop)
    return _count(dataclasses.replace(variant, name="", data=data, model=model, recipe=recipe))


@cache
def _count(variant: Variant) -> float:
    return gmacs(build_on_meta(variant, image_size=variant.recipe.crop), image_size=variant.recipe.crop)
