"""What the driver does while Tune runs a grid: tell of it, forgive deaths of processes, stop it."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from pipelines.cluster.board import News
from pipelines.cluster.retry import ALLOWED
from pipelines.cluster.stop_signal import StopRequest

Watch = Callable[[News], None]
OnEnd = Callable[[int, str | None], None]

_LOOK_EVERY_S = 0.5
_STOP_PATIENCE_S = 60.0  # for running trials to write a checkpoint
_CAPACITY_HOLDS_S = 2.0


def make_watcher(board: Any, watch: Watch, on_end: OnEnd, request: StopRequest) -> tuple[Any, Any]:
    """Returns Tune's callback, which hands on progress and ends, and the stopper that ends the grid early.

    The callback's `again` holds trials whose actors died before they had started, which Tune gives up: they
    are to be run again.
    """
    import ray
    from ray import tune

    class Watcher(tune.Callback):  # closes over nothing of its caller's: Tune pickles the class too
        def __init__(self, board: Any, watch: Watch, on_end: OnEnd, request: StopRequest) -> None:
            self._board, self._watch, self._on_end, self._request = board, watch, on_end, request
            self.ended: set[int] = set()
            self.again: list[int] = []
            self.enough = False
            self._unstarted: Counter[int] = Counter()
            self._looked = 0.0
            self._stopping: list[Any] | None = None
            self._deadline = 0.0

        def __getstate__(self) -> dict:
            return {}  # Tune pickles its callbacks with the experiment, which is never restored

        def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
            if time.monotonic() - self._looked > _LOOK_EVERY_S:
                self._look()
            if self._request.number is not None:
                self._stop(trials)

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._look()
            result = trial.last_result or {}
            if result.get("stopped") is False:  # neither by the grid nor by Tune, as it ends
                self._end(trial.config["index"], result["error"])

        def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._board.leave.remote(trial.config["index"])  # Tune takes it up again

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            index = trial.config["index"]  # its actor died before it had started: Tune gives it up
            self._unstarted[index] += 1
            if self._unstarted[index] <= ALLOWED:
                self.again.append(index)
            else:
                self._end(index, f"its actor died {ALLOWED + 1} times while starting, see Ray's logs")

        def _look(self) -> None:
            self._looked = time.monotonic()
            self._watch(ray.get(self._board.take.remote()))

        def _end(self, index: int, error: str | None) -> None:
            if index not in self.ended:
                self.ended.add(index)
                self._on_end(index, error)

        def _stop(self, trials: list) -> None:
            """Asks the trials that run to stop, once; has seen enough when they have, or will not."""
            if self._stopping is None:
                self._stopping = [trial for trial in trials if trial.status == "RUNNING"]
                self._deadline = time.monotonic() + _STOP_PATIENCE_S
                ray.get(self._board.stop.remote())
                text = f"stopping: {len(self._stopping)} trials write a checkpoint; again, and they do not"
                self._board.note.remote(None, text)
            running = [trial for trial in self._stopping if trial.status == "RUNNING"]
            self.enough = not running or time.monotonic() > self._deadline

    class Enough(tune.Stopper):
        def __init__(self, watcher: Watcher) -> None:
            self._watcher = watcher

        def __call__(self, trial_id: str, result: dict) -> bool:
            return False

        def stop_all(self) -> bool:
            return self._watcher.enough

        def __getstate__(self) -> dict:
            return {}

    watcher = Watcher(board, watch, on_end, request)
    return watcher, Enough(watcher)


def alive_nodes() -> set[str]:
    """Returns Ray's ids of the nodes alive; stands here since the board's process calls it, without torch."""
    import ray

    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def leaving_nodes() -> set[str]:
    """Returns Ray's ids of the nodes that are being drained: their machines have got notice."""
    from ray._private.state import state

    return set(state.get_draining_nodes())


def growing_search(capacity: Callable[[], int]) -> Any:
    """Returns Tune's own search, which starts no more trials than `capacity` says at the time, at least one.

    Trials of several workers need it: their actors wait for workers outside of Tune's own book-keeping.
    """
    from ray.tune.search.basic_variant import BasicVariantGenerator

    class GrowingSearch(BasicVariantGenerator):
        def next_trial(self) -> Any:
            now = time.monotonic()
            if now - getattr(self, "asked", -_CAPACITY_HOLDS_S) >= _CAPACITY_HOLDS_S:
                self.asked, self.max_concurrent = now, max(1, capacity())
            return super().next_trial()

    return GrowingSearch()
