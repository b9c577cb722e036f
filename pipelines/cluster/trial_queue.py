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
from pipelines.cluster.stop_signal import StopRequest
from regproxy.train.progress import Progress

_STOP_TIMEOUT_S = 60.0  # for running trials to save a checkpoint
_CAPACITY_POLL_INTERVAL_S = 2.0


@dataclass
class _Attempt:
    index: int
    hosts: list[str] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)
    resumed: bool = False
    preempted: bool = False


class TrialQueue(Searcher):
    """Tune's source of trials: gives out waiting trials in order, and takes them back if they may be retried.

    `capacity` returns how many trials may run at once.
    """

    def __init__(
        self, num_trials: int, policy: RetryPolicy, capacity: Callable[[], float], observer: Observer
    ) -> None:
        super().__init__()
        self._waiting = deque(range(num_trials))
        self._running: dict[str, _Attempt] = {}  # by Tune's trial id
        self._policy, self._observer = policy, observer
        self._capacity, self._capacity_value, self._capacity_time = capacity, 0.0, -_CAPACITY_POLL_INTERVAL_S
        self._last_error: dict[int, str] = {}
        self.num_ended = 0
        self.stopping = False

    @property
    def num_started(self) -> int:
        """The number of running trials that have started to train."""
        return sum(attempt.resumed for attempt in self._running.values())

    def suggest(self, trial_id: str) -> dict[str, int] | str | None:
        """Return the next trial for Tune to start, None to be asked again, or FINISHED."""
        while self._waiting and not self.stopping:
            if len(self._running) >= self._current_capacity():
                return None
            index = self._waiting.popleft()
            if self._policy.may_start(index):
                self._running[trial_id] = _Attempt(index)
                return {"index": index}
            died = f"its processes died {MAX_DEATHS + 1} times without a newer checkpoint in between"
            self._end(index, self._last_error.get(index) or f"{died}, see Ray's logs")
        return None if self._running and not self.stopping else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take a report of a running trial."""
        attempt = self._running[trial_id]
        attempt.hosts, attempt.nodes = result.get("hosts", []), set(result.get("nodes", []))
        attempt.preempted = result.get("preempted", False)
        progress: Progress | None = result.get("progress")
        if progress:
            if not attempt.resumed:
                attempt.resumed = True
                self._policy.record_resume(attempt.index, progress.step)
                if progress.step:
                    self._observer.message(attempt.index, f"resumes from step {progress.step}")
            self._print_notes(attempt.index, progress)
        self._observer.running(attempt.index, attempt.hosts, progress)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Take the end of an attempt: `error` if the actor died, else its last result."""
        attempt, result = self._running.pop(trial_id), result or {}
        self._observer.running(attempt.index, [], None)
        self._print_notes(attempt.index, result.get("progress"))
        index, hosts = attempt.index, " ".join(dict.fromkeys(attempt.hosts)) or "its node"
        if attempt.preempted or result.get("preempted"):
            self._waiting.appendleft(index)
            self._observer.message(index, f"was preempted on {hosts}; its checkpoint is saved")
        elif error or "died" in result:
            self._policy.record_death(index, attempt.nodes)
            self._last_error[index] = result.get("died", "")
            self._waiting.appendleft(index)
            self._observer.message(index, f"its processes on {hosts} died")
        elif not result.get("stopped") and "error" in result:
            self._end(index, result["error"], result.get("traceback"))

    def _print_notes(self, index: int, progress: Progress | None) -> None:
        for note in progress.notes if progress else ():
            self._observer.message(index, note)

    def _end(self, index: int, error: str | None, traceback: str | None = None) -> None:
        self.num_ended += 1
        self._observer.ended(index, error, traceback)

    def _current_capacity(self) -> float:
        if time.monotonic() - self._capacity_time >= _CAPACITY_POLL_INTERVAL_S:
            self._capacity_value, self._capacity_time = max(1, self._capacity()), time.monotonic()
        return self._capacity_value

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: an interrupted ablation resumes from the run folders, not from Tune's files."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing, see `save`."""

    def __getstate__(self) -> dict:
        return {}  # Tune pickles the search with the experiment


class StopOnRequest(tune.Stopper):
    """Stops all trials after Ctrl-C: they save a checkpoint at their next report, then Tune ends."""

    def __init__(self, request: StopRequest, queue: TrialQueue, coordinator: Any, observer: Observer) -> None:
        self._request, self._queue, self._coordinator = request, queue, coordinator
        self._observer = observer
        self._deadline = 0.0

    def __call__(self, trial_id: str, result: dict) -> bool:
        return False

    def stop_all(self) -> bool:
        """Return whether Tune shall end; Tune asks several times a second."""
        if self._request.number is None:
            return False
        if not self._queue.stopping:
            self._queue.stopping = True
            self._deadline = time.monotonic() + _STOP_TIMEOUT_S
            ray.get(self._coordinator.stop.remote())
            count = self._queue.num_started
            trials = "1 trial is" if count == 1 else f"{count} trials are"
            text = f"Stopping: {trials} saving checkpoints. Press Ctrl-C again to exit without saving."
            self._observer.message(None, text)
        return self._queue.num_started == 0 or time.monotonic() > self._deadline

    def __getstate__(self) -> dict:
        return {}
