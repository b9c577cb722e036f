"""Start times of tasks on equal GPUs, by list scheduling: the policy by which trials start.

Tasks wait in a list. Whenever GPUs become free, every task that fits starts, in the order of the list. If the
longest is first and each needs one GPU, Graham's bound holds: the makespan is at most 4/3 - 1/(3 m) of the
optimum on m GPUs. All GPUs form one pool; nodes are not modelled.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from regproxy.errors import ConfigError

_UNITS_PER_GPU = 10_000  # Ray's smallest share of a GPU is 1 / 10,000; integers add without rounding


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work that occupies `gpus` GPUs for some seconds; a number below 1 is a share of one GPU."""

    seconds: float
    gpus: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Tasks, and the start of each in seconds, in the order of the list."""

    tasks: tuple[Task, ...]
    starts: tuple[float, ...]
    gpus: int

    @property
    def makespan(self) -> float:
        """Seconds from the first start to the last end."""
        return max(start + task.seconds for start, task in zip(self.starts, self.tasks, strict=True))

    @property
    def busy_seconds(self) -> float:
        """GPU seconds that the tasks occupy."""
        return sum(task.seconds * task.gpus for task in self.tasks)

    @property
    def utilisation(self) -> float:
        """Share in (0, 1] of all GPU seconds until the last end that the tasks occupy."""
        return min(1.0, self.busy_seconds / (self.gpus * self.makespan))


def list_schedule(tasks: Sequence[Task], gpus: int) -> Schedule:
    """Schedule one or more tasks in the order of the list.

    Raises:
        ConfigError: there is no GPU, or there are fewer GPUs than one task needs.
    """
    if gpus < 1:
        raise ConfigError(f"--gpus is invalid: expected at least 1; got {gpus}")
    needs = [round(task.gpus * _UNITS_PER_GPU) for task in tasks]
    if max(needs) > gpus * _UNITS_PER_GPU:
        raise ConfigError(
            f"a training needs {max(needs) / _UNITS_PER_GPU:g} GPUs but there are {gpus}: "
            f"give more GPUs or fewer workers"
        )
    free_units, now = gpus * _UNITS_PER_GPU, 0.0
    waiting = list(range(len(tasks)))
    running: list[tuple[float, int]] = []  # heap of (end in seconds, index of the task)
    starts = [0.0] * len(tasks)
    while waiting:
        for index in waiting.copy():
            if needs[index] <= free_units:
                free_units -= needs[index]
                starts[index] = now
                heapq.heappush(running, (now + tasks[index].seconds, index))
                waiting.remove(index)
        now = running[0][0]
        while running and running[0][0] == now:
            free_units += needs[heapq.heappop(running)[1]]
    return Schedule(tasks=tuple(tasks), starts=tuple(starts), gpus=gpus)
