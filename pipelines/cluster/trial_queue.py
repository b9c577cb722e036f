"""The order in which trials start, restarts after deaths, and the end of each trial; driven by Tune."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray import tune
from ray.tune.search import Searcher

from pipelines.cluster.display import Observer
from pipelines.cluster.retry import MAX_DEATHS, RetryPolicy
from pipelines.cluster.stop_signal import SignalRecord

_STOP_TIMEOUT_S = 60.0  # for running trials to save a checkpoint
_CAPACITY_POLL_INTERVAL_S = 2.0


@dataclass
class _Attempt:
    """One start of a trial; `nodes` are all nodes of the cluster until the trial has said where it runs."""

    index: int
    nodes: set[str]
    hosts: list[str] = field(default_factory=list)
    started: bool = False
    preempted: bool = False
    stopped: bool = False


class TrialQueue(Searcher):
    """Tune's source of trials: gives out waiting trials in order, and takes them back if they may be retried.

    Args:
        num_trials: length of the list of trials.
        policy: decides about restarts.
        capacity: returns how many trials may run at once.
        observer: receives progress, messages and ends.
        values: for a search, returns the settings of a trial that differ from its variant. It is called when
            the trial starts, and again when it restarts.
    """

    def __init__(
        self,
        num_trials: int,
        policy: RetryPolicy,
        capacity: Callable[[], float],
        observer: Observer,
        values: Callable[[int], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._waiting = deque(range(num_trials))
        self._running: dict[str, _Attempt] = {}  # by Tune's trial id
        self._policy, self._observer, self._values = policy, observer, values
        self._capacity, self._capacity_value, self._capacity_time = capacity, 0.0, -_CAPACITY_POLL_INTERVAL_S
        self._last_error: dict[int, str] = {}
        self._stopping = False
        self._stopped_early = set[int]()
        self.num_ended = 0

    @property
    def num_started(self) -> int:
        """The number of running trials that have started to train."""
        return sum(attempt.started for attempt in self._running.values())

    def stop(self) -> None:
        """Start no more trials, and tell the user that the running ones stop."""
        self._stopping = True
        count = self.num_started
        trials = "1 trial is" if count == 1 else f"{count} trials are"
        text = f"Stopping: {trials} saving checkpoints. Press Ctrl-C again to exit without saving."
        self._observer.message(None, text)

    def stop_early(self, index: int) -> None:
        """Count a trial as ended when it has stopped."""
        self._stopped_early.add(index)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial for Tune to start, None to be asked again, or FINISHED."""
        while self._waiting and not self._stopping:
            if time.monotonic() - self._capacity_time >= _CAPACITY_POLL_INTERVAL_S:
                self._capacity_value, self._capacity_time = max(1, self._capacity()), time.monotonic()
            if len(self._running) >= self._capacity_value:
                return None
            index = self._waiting.popleft()
            if self._policy.may_start(index):
                self._running[trial_id] = _Attempt(index, self._policy.alive_nodes())
                return {"index": index, **({"values": self._values(index)} if self._values else {})}
            died = f"its processes died {MAX_DEATHS + 1} times without a newer checkpoint in between"
            self._end(index, self._last_error.get(index) or f"{died}, see Ray's logs")
        return None if self._running and not self._stopping else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take a report of a running trial."""
        attempt = self._running[trial_id]
        if "nodes" in result:
            attempt.nodes = set(result["nodes"]) | (attempt.nodes if attempt.hosts else set())
            attempt.hosts += result["hosts"]
        attempt.preempted |= result.get("preempted", False)
        attempt.stopped |= result.get("stopped", False)
        progress = result.get("progress")
        if progress and not attempt.started:
            attempt.started = True
            self._policy.record_resume(attempt.index, progress.step)
            if progress.step:
                self._observer.message(attempt.index, f"resumes from step {progress.step}")
        for note in progress.notes if progress else ():
            self._observer.message(attempt.index, note)
        self._observer.running(attempt.index, attempt.hosts, progress)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take the end of an attempt: `error` if the actor died, else its last report."""
        result = result or {}
        self.on_trial_result(trial_id, result)
        attempt = self._running.pop(trial_id)
        index, hosts = attempt.index, " ".join(dict.fromkeys(attempt.hosts)) or "its node"
        self._observer.running(index, [], None)
        if attempt.preempted:
            self._waiting.appendleft(index)
            self._observer.message(index, f"was preempted on {hosts}; its checkpoint is saved")
        elif error or "died" in result:
            self._policy.record_death(index, attempt.nodes)
            self._last_error[index] = result.get("died", "")
            self._waiting.appendleft(index)
            self._observer.message(index, f"its processes on {hosts} died")
        elif attempt.stopped and index in self._stopped_early:
            self._end(index, None)
        elif not attempt.stopped and "error" in result:
            self._end(index, result["error"], result.get("traceback"))

    def _end(self, index: int, error: str | None, traceback: str | None = None) -> None:
        self.num_ended += 1
        self._observer.ended(index, error, traceback)

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: an interrupted ablation resumes from the run folders, not from Tune's files."""

    restore = save

    def __getstate__(self) -> dict:
        return {}  # Tune pickles the search with the experiment


class StopOnRequest(tune.Stopper):
    """Stops all trials after Ctrl-C: they save a checkpoint at their next report, then Tune ends."""

    def __init__(self, signals: SignalRecord, queue: TrialQueue, coordinator: Any) -> None:
        self._signals, self._queue, self._coordinator = signals, queue, coordinator
        self._deadline: float | None = None

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        """Return whether Tune shall end; Tune asks several times a second."""
        if self._signals.number is None:
            return False
        if self._deadline is None:
            self._deadline = time.monotonic() + _STOP_TIMEOUT_S
            ray.get(self._coordinator.stop.remote())
            self._queue.stop()
        return self._queue.num_started == 0 or time.monotonic() > self._deadline

    def __getstate__(self) -> dict:
        return {}
