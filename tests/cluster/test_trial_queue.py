"""The retry policy, and the queue that starts, restarts and ends trials."""

import subprocess
import sys

from ray.tune.search import Searcher

from pipelines.cluster.coordinator import Coordinator
from pipelines.cluster.display import Observer
from pipelines.cluster.retry import MAX_DEATHS, RetryPolicy
from pipelines.cluster.trial_queue import TrialQueue
from regproxy.train.progress import Progress

PROGRESS = Progress(40, 80, 1.25, 6.0e-5, 12.5, 75.0, val_miou=0.345)


def num_starts(policy: RetryPolicy, nodes: set[str]) -> int:
    """How often a trial may start whose processes on `nodes` always die."""
    count = 0
    while policy.may_start(0) and count < 50:
        count += 1
        policy.record_death(0, nodes)
    return count


def test_crashes_without_progress_are_limited() -> None:
    assert num_starts(RetryPolicy(lambda: {"a"}), {"a"}) == MAX_DEATHS + 1
    assert num_starts(RetryPolicy(lambda: {"a"}), set()) == MAX_DEATHS + 1


def test_only_a_newer_checkpoint_clears_the_deaths() -> None:
    policy = RetryPolicy(lambda: {"a"})
    for step in (10, 20, 30, 40, 50):
        assert policy.may_start(0)
        policy.record_resume(0, step)
        policy.record_death(0, {"a"})
    for _ in range(MAX_DEATHS):
        assert policy.may_start(0)
        policy.record_resume(0, 50)
        policy.record_death(0, {"a"})
    assert not policy.may_start(0)


def test_lost_nodes_cost_nothing() -> None:
    alive = {f"{number}" for number in range(100)}
    policy = RetryPolicy(lambda: alive)
    for number in range(20):
        policy.record_death(0, {f"{number}"})
        alive.discard(f"{number}")
        assert policy.may_start(0)
    assert num_starts(policy, {"60"}) == MAX_DEATHS + 1


def test_one_lost_node_of_several_workers_costs_nothing() -> None:
    alive = {"a", "b"}
    policy = RetryPolicy(lambda: alive)
    for number in range(20):
        alive.add(f"{number}")
        policy.record_death(0, {"a", f"{number}"})
        alive.discard(f"{number}")
        assert policy.may_start(0)


class Recorder(Observer):
    def __init__(self) -> None:
        self.ends: list[tuple[int, str | None]] = []
        self.messages: list[str] = []

    def message(self, index: int | None, text: str) -> None:
        self.messages.append(text)

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        self.ends.append((index, error))


def make_queue(num_trials: int, capacity: int = 9) -> tuple[TrialQueue, Recorder]:
    recorder = Recorder()
    return TrialQueue(num_trials, RetryPolicy(lambda: {"a"}), lambda: capacity, recorder), recorder


def test_queue_restarts_deaths_first_and_ends_when_all_have_ended() -> None:
    queue, recorder = make_queue(2)
    assert queue.suggest("t0") == {"index": 0} and queue.suggest("t1") == {"index": 1}
    assert queue.suggest("t2") is None
    queue.on_trial_complete("t1", {"error": None})
    queue.on_trial_result("t0", {"hosts": ["vm"], "nodes": ["a"]})
    for attempt in range(MAX_DEATHS):
        queue.on_trial_complete(f"t{2 * attempt}", error=True)
        assert queue.suggest(f"t{2 * attempt + 2}") == {"index": 0}
    queue.on_trial_complete(f"t{2 * MAX_DEATHS}", error=True)
    assert queue.suggest("last") == Searcher.FINISHED
    assert recorder.ends[0] == (1, None)
    assert recorder.ends[1][0] == 0 and "died 4 times" in recorder.ends[1][1]


def test_queue_keeps_the_last_error_of_workers_that_died() -> None:
    queue, recorder = make_queue(1)
    for attempt in range(MAX_DEATHS + 1):
        assert queue.suggest(f"{attempt}") == {"index": 0}
        queue.on_trial_complete(f"{attempt}", {"died": "OSError: no such disk"})
    assert queue.suggest("last") == Searcher.FINISHED
    assert recorder.ends == [(0, "OSError: no such disk")]


def test_preempted_trials_restart_without_limit() -> None:
    queue, recorder = make_queue(1)
    for attempt in range(20):
        assert queue.suggest(f"{attempt}") == {"index": 0}
        result = {"hosts": ["vm"], "nodes": ["a"], "preempted": True, "progress": Progress(attempt % 2, 9)}
        queue.on_trial_result(f"{attempt}", result)
        queue.on_trial_complete(f"{attempt}", error=True)
    assert recorder.ends == []
    assert "resumes from step 1" in recorder.messages


def test_queue_starts_as_many_as_the_cluster_holds_and_none_while_stopping() -> None:
    queue, recorder = make_queue(3, capacity=1)
    assert queue.suggest("t0") == {"index": 0} and queue.suggest("t1") is None
    assert queue.num_started == 0
    queue.on_trial_result("t0", {"hosts": ["vm"], "nodes": ["a"]})
    assert queue.num_started == 0
    queue.on_trial_result("t0", {"hosts": ["vm"], "nodes": ["a"], "progress": Progress(0, 9)})
    assert queue.num_started == 1
    queue.stop()
    queue.on_trial_complete("t0", {"stopped": True})
    assert queue.num_started == 0
    assert queue.suggest("t1") == Searcher.FINISHED
    assert recorder.ends == []


def test_a_lost_node_costs_nothing_before_the_first_report() -> None:
    recorder, alive = Recorder(), {"a", "b"}
    queue = TrialQueue(1, RetryPolicy(lambda: set(alive)), lambda: 9, recorder)
    for attempt in range(20):
        alive.add(f"{attempt}")
        assert queue.suggest(f"t{attempt}") == {"index": 0}
        alive.discard(f"{attempt}")
        queue.on_trial_complete(f"t{attempt}", error=True)
    assert recorder.ends == []


def test_a_trial_that_a_search_stops_has_ended() -> None:
    recorder = Recorder()
    queue = TrialQueue(2, RetryPolicy(lambda: {"a"}), lambda: 9, recorder, lambda index: {"tap": index})
    assert [queue.suggest(f"t{index}") for index in range(2)] == [
        {"index": index, "values": {"tap": index}} for index in range(2)
    ]
    queue.stop_early(0)
    queue.on_trial_complete("t0", {"stopped": True})
    queue.on_trial_complete("t1", {"stopped": True})  # after Ctrl-C
    assert recorder.ends == [(0, None)] and queue.num_ended == 1


def test_coordinator_stops_one_trial_or_all() -> None:
    coordinator = Coordinator()
    coordinator.stop(1)
    assert [coordinator.stopping(index) for index in range(2)] == [False, True]
    coordinator.stop()
    assert coordinator.stopping(0)


def test_coordinator_needs_no_torch() -> None:
    code = (
        "import sys, pipelines.cluster.coordinator, regproxy.train.progress; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
