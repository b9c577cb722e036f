"""How fast a GPU trains a variant: measured, or assumed from the network's multiply-adds.

A speed is images per second of one GPU. The assumption: training takes three times the multiply-adds of a
forward pass (the backward pass is two), a multiply-add is two operations, and a GPU does its peak times the
share that training makes of it (MFU).
"""

import dataclasses
import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from regproxy.config.variant import Recipe, Variant
from regproxy.errors import ConfigError
from regproxy.plan.complexity import build_on_meta, gmacs

PEAK_TFLOPS = {"bf16": 312.0, "float32": 19.5}  # NVIDIA A100, dense; its data sheet
_PASSES, _OPERATIONS_PER_MAC = 3, 2
Source = Literal["measured", "assumed"]


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What a plan takes for granted where nothing was measured.

    `tflops` is the peak of one GPU in 10^12 operations a second; None takes an A100's at the recipe's
    precision. Each worker after the first adds `efficiency` of the first one's speed.
    """

    tflops: float | None = None
    mfu: float = 0.35
    efficiency: float = 0.9
    startup_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("tflops", "mfu", "efficiency"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{name} {value:g} is not allowed, it must be above 0")
        for name in ("mfu", "efficiency"):
            if getattr(self, name) > 1:
                raise ConfigError(
                    f"{name} {getattr(self, name):g} is not allowed, it is a share of 1 at most"
                )
        if not 0 <= self.startup_seconds < math.inf:
            raise ConfigError(
                f"startup {self.startup_seconds:g} is not allowed, it must be 0 seconds or more"
            )

    def peak_tflops(self, precision: str) -> float:
        """The peak of one GPU at a recipe's precision, in 10^12 operations a second."""
        return self.tflops or PEAK_TFLOPS[precision]

    def speed_up(self, workers: int) -> float:
        """How many times as fast as one worker so many are."""
        return 1 + self.efficiency * (workers - 1)


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Measured images per second of one GPU.

    `given` goes by the name of a variant or an architecture, with or without `<data set>/` before it;
    `recorded` by a variant's digest.
    """

    given: Mapping[str, float] = field(default_factory=dict)
    recorded: Mapping[str, float] = field(default_factory=dict)

    def of(self, variant: Variant, assumptions: Assumptions) -> tuple[float, Source]:
        """Returns a variant's images per second of one GPU and where they come from."""
        for name in speed_names(variant):
            if name in self.given:
                return self.given[name], "measured"
        if variant.digest() in self.recorded:
            return self.recorded[variant.digest()], "measured"
        return assumed_speed(variant, assumptions), "assumed"


def speed_names(variant: Variant) -> list[str]:
    """Returns what a given speed of this variant may be called, the most special first."""
    return [
        f"{where}{what}"
        for what in (variant.name, variant.model.arch)
        for where in (f"{variant.data.name}/", "")
    ]


def assumed_speed(variant: Variant, assumptions: Assumptions) -> float:
    """Returns the images per second at which one GPU is taken to train a variant's network."""
    operations = _OPERATIONS_PER_MAC * _PASSES * crop_gmacs(variant)  # 10^9 an image
    return assumptions.peak_tflops(variant.recipe.precision) * 1e3 * assumptions.mfu / operations


def read_speeds(path: Path) -> dict[str, float]:
    """Reads a JSON object of images per second of one GPU, by variant or architecture; `plan` checks names.

    Raises:
        ConfigError: no such file, or no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise ConfigError(f"{path} cannot be read, give a JSON file of speeds") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON ({error}), mend it") from None
    if not isinstance(content, dict):
        raise ConfigError(
            f"{path} holds no JSON object, write {{variant or architecture: images per second}}"
        )
    return content


def recorded_speeds(runs: Path, assumptions: Assumptions) -> dict[str, float]:
    """Returns images per second of one GPU by variant digest: medians over the run records below `runs`."""
    found: dict[str, list[float]] = {}
    for path in sorted(runs.glob("**/run.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            digest, speed = Variant.from_dict(record["variant"]).digest(), record["images_per_second"]
            workers = record["workers"]
        except (ValueError, KeyError):
            continue  # another version's record says nothing of today's variants
        if speed > 0:
            found.setdefault(digest, []).append(speed / assumptions.speed_up(workers))
    return {digest: statistics.median(values) for digest, values in found.items()}


def crop_gmacs(variant: Variant) -> float:
    """Returns 10^9 multiply-adds of a forward pass over one training crop; equal networks count once."""
    model = dataclasses.replace(
        variant.model,
        pretrain="none",
        weights=None,
        drop_path=0.0,
        tap=None if variant.model.tap is None else 0,
    )
    data = dataclasses.replace(variant.data, name="", root="")
    recipe = Recipe(steps=1, crop=variant.recipe.crop, scale=variant.recipe.crop)
    return _count(dataclasses.replace(variant, name="", data=data, model=model, recipe=recipe))


@cache
def _count(variant: Variant) -> float:
    return gmacs(build_on_meta(variant, image_size=variant.recipe.crop), image_size=variant.recipe.crop)
