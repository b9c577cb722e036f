"""The schedule of a plan, against independent implementations."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from regproxy.plan.schedule import Schedule, Task, list_schedule

SECONDS = st.integers(1, 50)


def to_tasks(seconds: list[int]) -> list[Task]:
    return [Task(seconds=float(value)) for value in seconds]


def best_makespan(seconds: list[int], gpus: int) -> float:
    """Return the optimum, from every assignment of single-GPU tasks to GPUs."""
    return min(
        max(sum(s for s, used in zip(seconds, choice, strict=True) if used == gpu) for gpu in range(gpus))
        for choice in itertools.product(range(gpus), repeat=len(seconds))
    )


def second_by_second(tasks: list[Task], gpus: int) -> list[float]:
    """Return the starts of tasks of whole seconds, from a clock that ticks over one slot for each GPU."""
    left, starts = [0] * gpus, [None] * len(tasks)
    for now in itertools.count():
        for index, task in enumerate(tasks):
            free = [slot for slot in range(gpus) if left[slot] == 0]
            if starts[index] is None and len(free) >= task.gpus:
                starts[index] = float(now)
                for slot in free[: int(task.gpus)]:
                    left[slot] = int(task.seconds)
        if None not in starts:
            return starts
        left = [max(0, seconds - 1) for seconds in left]


@given(st.lists(SECONDS, min_size=1, max_size=7), st.integers(1, 3))
def test_longest_first_stays_within_grahams_bound(seconds: list[int], gpus: int) -> None:
    best = best_makespan(seconds, gpus)
    makespan = list_schedule(to_tasks(sorted(seconds, reverse=True)), gpus).makespan
    assert best <= makespan <= (4 / 3 - 1 / (3 * gpus)) * best + 1e-9
    assert makespan >= max(sum(seconds) / gpus, *seconds)


def test_grahams_bound_is_met() -> None:
    """The textbook's worst case for two machines: 7/6 of the optimum."""
    schedule = list_schedule(to_tasks([3, 3, 2, 2, 2]), 2)
    assert (schedule.makespan, best_makespan([3, 3, 2, 2, 2], 2)) == (7.0, 6)


@given(st.lists(st.tuples(SECONDS, st.integers(1, 4)), min_size=1, max_size=12), st.integers(4, 9))
def test_starts_equal_an_independent_simulation(needs: list[tuple[int, int]], gpus: int) -> None:
    tasks = [Task(seconds=float(seconds), gpus=float(need)) for seconds, need in needs]
    schedule = list_schedule(tasks, gpus)
    assert list(schedule.starts) == second_by_second(tasks, gpus)
    assert 0 < schedule.utilisation <= 1
    assert schedule.makespan >= schedule.busy_seconds / gpus


@given(st.lists(SECONDS, min_size=1, max_size=20))
def test_one_gpu_takes_the_sum(seconds: list[int]) -> None:
    schedule = list_schedule(to_tasks(seconds), 1)
    assert schedule.makespan == sum(seconds) and schedule.utilisation == 1


def test_a_small_task_overtakes_one_that_does_not_fit() -> None:
    tasks = [Task(seconds=4.0, gpus=2.0), Task(seconds=3.0, gpus=2.0), Task(seconds=2.0)]
    assert list_schedule(tasks, 3).starts == (0.0, 4.0, 0.0)


def test_shares_of_a_gpu_add_without_rounding() -> None:
    assert list_schedule([Task(seconds=1.0, gpus=0.1)] * 10, 1).makespan == 1.0
    assert list_schedule([Task(seconds=1.0, gpus=0.1)] * 11, 1).makespan == 2.0


def test_a_schedule_keeps_the_order_that_it_was_given() -> None:
    tasks = to_tasks([1, 5, 2])
    assert list_schedule(tasks, 1) == Schedule(tasks=tuple(tasks), starts=(0.0, 1.0, 6.0), gpus=1)
