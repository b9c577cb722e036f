"""When tasks start on a number of equal GPUs, by list scheduling: the policy of the grid, simulated.

Tasks wait in a list. Whenever GPUs are free, the list is walked from its head and every task that fits
starts. With the longest first and one GPU each, Graham's bound holds: the end comes no later than
4/3 - 1/(3 m) of the best possible on m GPUs. GPUs are one pool; where they stand does not matter.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from regproxy.errors import ConfigError

_SHARES = 10_000  # a GPU's smallest share is 1 / 10,000, as in Ray; whole numbers add without rounding


@dataclass(frozen=True, kw_only=True)
class Task:
    """Something that holds `gpus` GPUs (a share, where below one) for so many seconds."""

    seconds: float
    gpus: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """When each task starts, in seconds and in the order that tasks came in; what that comes to."""

    tasks: tuple[Task, ...]
    starts: tuple[float, ...]
    gpus: int

    @property
    def makespan(self) -> float:
        """Seconds from the first start to the last end."""
        return max(start + task.seconds for start, task in zip(self.starts, self.tasks, strict=True))

    @property
    def busy_seconds(self) -> float:
        """GPU seconds that tasks hold."""
        return sum(task.seconds * task.gpus for task in self.tasks)

    @property
    def utilisation(self) -> float:
        """The share, in (0, 1], of all GPU seconds until the end that tasks hold."""
        return min(1.0, self.busy_seconds / (self.gpus * self.makespan))


def list_schedule(tasks: Sequence[Task], gpus: int) -> Schedule:
    """Schedules tasks, at least one, in the order of the list.

    Raises:
        ConfigError: no GPU at all, or fewer than one task needs.
    """
    if gpus < 1:
        raise ConfigError(f"{gpus} GPUs are not allowed, give 1 or more")
    needs = [round(task.gpus * _SHARES) for task in tasks]
    if max(needs) > gpus * _SHARES:
        raise ConfigError(
            f"a training needs {max(needs) / _SHARES:g} GPUs at once but there are {gpus}; give more GPUs or "
            f"fewer workers"
        )
    free, now = gpus * _SHARES, 0.0
    waiting = list(range(len(tasks)))
    running: list[tuple[float, int]] = []  # a heap of (end, index)
    starts = [0.0] * len(tasks)
    while waiting:
        held_back = []
        for index in waiting:
            if needs[index] <= free:
                free -= needs[index]
                starts[index] = now
                heapq.heappush(running, (now + tasks[index].seconds, index))
            else:
                held_back.append(index)
        waiting = held_back
        if waiting:
            now = running[0][0]
            while running and running[0][0] == now:
                free += needs[heapq.heappop(running)[1]]
    return Schedule(tasks=tuple(tasks), starts=tuple(starts), gpus=gpus)
