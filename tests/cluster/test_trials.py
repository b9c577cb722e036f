"""The parts that run trials: restarts, the queue, the table, and how signals arrive."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from ray.tune.search import Searcher
from rich.console import Console

from pipelines.cluster import trial_actor
from pipelines.cluster.display import Observer, TrialsDisplay
from pipelines.cluster.retry import MAX_DEATHS, RetryPolicy
from pipelines.cluster.stop_signal import Interrupted, SignalRecord, driver_signals, recorded_signals
from pipelines.cluster.trial_queue import TrialQueue
from pipelines.stage import profile_stage
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
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


def test_coordinator_needs_no_torch() -> None:
    code = (
        "import sys, pipelines.cluster.coordinator, regproxy.train.progress; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("no such file"), False),
    ],
)
def test_only_errors_of_the_process_are_retried(
    make_trial: Callable[..., Trial], error: Exception, expected: bool
) -> None:
    with pytest.raises(type(error)) if expected else nullcontext():
        report = trial_actor.report_error(error, make_trial(), Context())
        assert report["error"] == f"{type(error).__name__}: {error}"
    assert Path(make_trial().workspace.run_dir, "error.log").exists()


def test_table_shows_variant_seed_and_node(make_trial: Callable[..., Trial]) -> None:
    trials = [make_trial(seed=3), make_trial("linear")]
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with TrialsDisplay(trials, already_finished=2, console=console) as display:
        display.running(0, ["node-7", "node-7"], PROGRESS)
        time.sleep(0.6)
        display.running(1, ["node-8"], Progress(0, 80))
        text = console.file.getvalue()
        assert "2 of 4 trials finished, 2 running" in text
        row = next(line for line in text.splitlines()[::-1] if "region-4x4" in line)
        for value in ("ade20k", " 3 ", "node-7 ", "40/80", "1.2500", "12.5", "34.50", "1:15"):
            assert value in row
        assert "starting" in next(line for line in text.splitlines() if "linear" in line)
        display.ended(0, None, None)
        time.sleep(0.6)
        display.running(1, ["node-8"], None)
        assert "3 of 4 trials finished, 1 running" in console.file.getvalue()


def test_sigterm_is_recorded_while_the_handler_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with recorded_signals(signal.SIGTERM) as record, ThreadPoolExecutor(1) as pool:
        assert pool.submit(recorded_signals(signal.SIGTERM).__enter__).result() is record
        assert record.number is None
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            assert record.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(recorded_signals(signal.SIGTERM).__enter__).result() is not record


def test_first_interrupt_is_recorded_and_the_second_raises() -> None:
    with driver_signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.number == signal.SIGINT
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_interrupted_stage_says_so(capsys: pytest.CaptureFixture) -> None:
    def stage(profile: str) -> int:
        raise Interrupted(signal.SIGINT)

    assert profile_stage(stage, "", ["smoke"]) == 130
    assert "Run the command again to continue" in capsys.readouterr().err


def test_a_node_that_leaves_later_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report looks at the leaving nodes again, also after a cluster did not answer."""
    answers = iter([set(), ConnectionError("no answer"), {"other"}, {"here"}])

    def draining() -> set[str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(trial_actor, "draining_nodes", draining)
    monkeypatch.setattr(trial_actor, "location", lambda: {"hosts": ["vm"], "nodes": ["here"]})
    record = SignalRecord()
    assert [trial_actor.is_preempted(record) for _ in range(4)] == [False, False, False, True]
    monkeypatch.setattr(trial_actor, "draining_nodes", set)
    record(signal.SIGTERM, None)
    assert trial_actor.is_preempted(record)
