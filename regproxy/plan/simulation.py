"""How long a profile's trainings take on a cluster of GPUs, longest first, as the grid runs them.

Counted are training and start-up; not validation, scoring or the time that nodes take to come up.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from regproxy.config.parse import choose
from regproxy.config.profile import Profile
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError
from regproxy.plan.schedule import Schedule, Task, list_schedule
from regproxy.plan.speeds import Assumptions, Source, Speeds, crop_gmacs, speed_names


class HasCell(Protocol):
    """A trial, whoever keeps it."""

    @property
    def variant(self) -> Variant: ...


T = TypeVar("T", bound=HasCell)


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A training in the plan; `images_per_second` is that of all its workers together."""

    variant: Variant
    seed: int
    images_per_second: float
    source: Source
    task: Task


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Trials in the order in which they wait, and their schedule."""

    trials: tuple[PlannedTrial, ...]
    schedule: Schedule


def longest_first(trials: Iterable[T]) -> list[T]:
    """Returns trials by the multiply-adds of their whole training, most first; equal ones as they came.

    A trial is anything with a `variant`. Counting takes about half a second for each different network.
    """

    def gmacs_in_all(trial: T) -> float:
        recipe = trial.variant.recipe
        return recipe.steps * recipe.batch_size * crop_gmacs(trial.variant)

    return sorted(trials, key=gmacs_in_all, reverse=True)


def plan(
    profile: Profile,
    *,
    gpus: int,
    workers: int | None = None,
    assumptions: Assumptions | None = None,
    speeds: Speeds | None = None,
) -> Plan:
    """Simulates a profile's trials on a cluster of so many GPUs.

    `workers` replaces the profile's workers of one trial. A profile that asks for no GPU gets one a worker.
    A worker with a share of a GPU has that share of its speed; one with several trains on one of them.

    Raises:
        ConfigError: a training does not fit on the cluster, `workers` do not divide a batch, or a speed is
            given for what the profile does not have.
    """
    assumptions, speeds = assumptions or Assumptions(), speeds or Speeds()
    workers = profile.resources.workers if workers is None else workers
    _check_workers(profile, workers)
    _check_given(profile, speeds.given)
    each = profile.resources.gpus or 1.0
    trials = []
    for variant in profile.variants:
        speed, source = speeds.of(variant, assumptions)
        speed *= assumptions.speed_up(workers) * min(1.0, each)
        images = variant.recipe.steps * variant.recipe.batch_size
        task = Task(seconds=assumptions.startup_seconds + images / speed, gpus=workers * each)
        trials += [
            PlannedTrial(variant=variant, seed=seed, images_per_second=speed, source=source, task=task)
            for seed in profile.seeds
        ]
    trials = longest_first(trials)
    return Plan(trials=tuple(trials), schedule=list_schedule([trial.task for trial in trials], gpus))


def _check_workers(profile: Profile, workers: int) -> None:
    if workers < 1:
        raise ConfigError(f"{workers} workers are not allowed, give 1 or more")
    for variant in profile.variants:
        if variant.recipe.batch_size % (workers * variant.recipe.grad_accum_steps):
            raise ConfigError(
                f"{workers} workers with grad_accum_steps {variant.recipe.grad_accum_steps} do not divide "
                f"batch_size {variant.recipe.batch_size} of variant {variant.name}, choose a divisor"
            )


def _check_given(profile: Profile, given: Mapping[str, float]) -> None:
    names = list(dict.fromkeys(name for variant in profile.variants for name in speed_names(variant)))
    for name, value in given.items():
        choose(name, names, "speeds: variant or architecture")
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ConfigError(f"speeds: {name} is {value!r}, give images per second of one GPU, above 0")
