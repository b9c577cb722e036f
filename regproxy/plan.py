"""How long a profile's trainings take on a cluster of GPUs, longest first, as the grid runs them.

Counted are training and start-up; not validation, scoring or the time that nodes take to come up.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from regproxy.config import Cell
from regproxy.parse import ConfigError, choose
from regproxy.profile import Profile
from regproxy.schedule import Schedule, Task, list_schedule
from regproxy.speeds import Assumptions, Source, Speeds, crop_gmacs, speed_names


class HasCell(Protocol):
    """A trial, whoever keeps it."""

    @property
    def cell(self) -> Cell: ...


T = TypeVar("T", bound=HasCell)


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """A training in the plan; `images_per_second` is that of all its workers together."""

    cell: Cell
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

    A trial is anything with a `cell`. Counting takes about half a second for each different network.
    """

    def gmacs_in_all(trial: T) -> float:
        recipe = trial.cell.recipe
        return recipe.steps * recipe.batch_size * crop_gmacs(trial.cell)

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
    for cell in profile.cells:
        speed, source = speeds.of(cell, assumptions)
        speed *= assumptions.speed_up(workers) * min(1.0, each)
        images = cell.recipe.steps * cell.recipe.batch_size
        task = Task(seconds=assumptions.startup_seconds + images / speed, gpus=workers * each)
        trials += [
            PlannedTrial(cell=cell, seed=seed, images_per_second=speed, source=source, task=task)
            for seed in profile.seeds
        ]
    trials = longest_first(trials)
    return Plan(trials=tuple(trials), schedule=list_schedule([trial.task for trial in trials], gpus))


def _check_workers(profile: Profile, workers: int) -> None:
    if workers < 1:
        raise ConfigError(f"{workers} workers are not allowed, give 1 or more")
    for cell in profile.cells:
        if cell.recipe.batch_size % (workers * cell.recipe.accumulate):
            raise ConfigError(
                f"{workers} workers with accumulate {cell.recipe.accumulate} do not divide batch_size "
                f"{cell.recipe.batch_size} of cell {cell.name}, choose a divisor"
            )


def _check_given(profile: Profile, given: Mapping[str, float]) -> None:
    names = list(dict.fromkeys(name for cell in profile.cells for name in speed_names(cell)))
    for name, value in given.items():
        choose(name, names, "speeds: cell or architecture")
        if type(value) not in (int, float) or not 0 < value < math.inf:
            raise ConfigError(f"speeds: {name} is {value!r}, give images per second of one GPU, above 0")
