"""Simulation of a profile's trainings on a cluster of GPUs, where the longest starts first.

It includes training and start-up, but not validation, scoring or the start of nodes.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from regproxy.config.parse import choose
from regproxy.config.profile import Profile
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError
from regproxy.plan.schedule import Schedule, Task, list_schedule
from regproxy.plan.speeds import Assumptions, Source, Speeds, crop_gmacs, speed_names
from regproxy.runs.trial import Trial


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A training in the plan. `images_per_second` is the sum over its workers."""

    variant: Variant
    seed: int
    images_per_second: float
    source: Source
    task: Task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Trials in the order in which they start if all GPUs are busy, and their schedule."""

    trials: tuple[PlannedTrial, ...]
    schedule: Schedule


T = TypeVar("T", PlannedTrial, Trial)


def longest_first(trials: Iterable[T]) -> list[T]:
    """Return trials sorted by the multiply-adds of their whole training, largest first; the sort is stable.

    Counting takes about half a second for each different network.
    """

    def total_gmacs(trial: T) -> float:
        recipe = trial.variant.recipe
        return recipe.steps * recipe.batch_size * crop_gmacs(trial.variant)

    return sorted(trials, key=total_gmacs, reverse=True)


def plan(
    profile: Profile,
    *,
    gpus: int,
    workers: int | None = None,
    assumptions: Assumptions | None = None,
    speeds: Speeds | None = None,
) -> Plan:
    """Simulate a profile's trials on a cluster.

    Args:
        profile: its `resources.gpus` is the number of GPUs of one worker; 0 counts as 1. A worker with a
            share of a GPU has that share of its speed. A worker with several GPUs trains on one of them.
        gpus: number of GPUs of the cluster.
        workers: workers of one trial; None for the profile's number.
        assumptions: what is used where nothing was measured.
        speeds: measured speeds.

    Raises:
        ConfigError: a training does not fit on the cluster, the workers do not divide a batch, or a speed is
            invalid or for an unknown name.
    """
    assumptions, speeds = assumptions or Assumptions(), speeds or Speeds()
    resources = profile.resources
    if workers is not None:
        resources = dataclasses.replace(resources, workers=workers)
    for variant in profile.variants:
        resources.check_batch(variant, profile.name)
    names = list(dict.fromkeys(name for variant in profile.variants for name in speed_names(variant)))
    for name, value in speeds.given.items():
        choose(name, names, "speeds: variant or architecture")
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ConfigError(
                f"speed of {name} is invalid: expected images/s of one GPU, above 0; got {value!r}"
            )
    gpus_per_worker = resources.gpus or 1.0
    trials = []
    for variant in profile.variants:
        speed, source = speeds.of(variant, assumptions)
        speed *= assumptions.speed_up(resources.workers) * min(1.0, gpus_per_worker)
        images = variant.recipe.steps * variant.recipe.batch_size
        seconds = assumptions.startup_seconds + images / speed
        task = Task(seconds=seconds, gpus=resources.workers * gpus_per_worker)
        trials += [
            PlannedTrial(variant=variant, seed=seed, images_per_second=speed, source=source, task=task)
            for seed in profile.seeds
        ]
    trials = longest_first(trials)
    return Plan(trials=tuple(trials), schedule=list_schedule([trial.task for trial in trials], gpus))
