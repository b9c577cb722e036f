"""The only imports from Ray's private modules, with the reason for each.

- A node that is about to leave the cluster ("draining") is announced by no public call of Ray 2.60 outside
  Ray Train, and Ray sends no signal to the tasks on it.
- Ray Train runs the training function in a thread, but Python installs signal handlers in the main thread
  only. Only an internal callback runs in a worker's main thread.
"""

from collections.abc import Callable
from typing import Any

from ray._private.state import state
from ray.train.v2._internal.execution.callback import WorkerCallback


def draining_nodes() -> set[str]:
    """Return Ray's ids of the nodes that will leave the cluster soon."""
    return set(state.get_draining_nodes())


def in_worker_main_thread(function: Callable[[], Any]) -> WorkerCallback:
    """Return a Ray Train callback that calls `function` in each worker's main thread before training."""
    return _CallInMainThread(function)


class _CallInMainThread(WorkerCallback):
    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def after_init_train_context(self) -> None:
        self._function()
