"""MLflow as a mirror of the records: one experiment a profile and data set, a parent run a variant, a child
run a seed.

The mirror works in a thread of its own: a slow, hung or absent server delays nothing by more than a second
and fails nothing. Records are the truth; what was not delivered is replayed by the stage's next run, or by

python -m pipelines.tracking.sync <profile>
"""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rich.console import Console

from pipelines.tracking.store import Store, is_file, tracking_uri
from regproxy.runs.trial import Trial

_PATIENCE_S = 0.5  # of a stage with a server; a file is here and always written to the end


class Mirror:
    """Copies run and result records to MLflow in the background; a context manager.

    What is left at its end goes to a process of its own, which nobody waits for.
    """

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._work: queue.Queue[Callable[[Store], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="mlflow-mirror", daemon=True)
        self._enough = threading.Event()
        self._failed = False

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._work.put(None)
        self._thread.join(None if is_file(tracking_uri()) else _PATIENCE_S)
        if not self._thread.is_alive():
            return
        self._enough.set()  # after what it is at
        subprocess.Popen(
            [sys.executable, "-m", "pipelines.tracking.sync", self._profile],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        _warn(f"MLflow at {tracking_uri()} is slow; {self._later()} if a process in the background does not")

    def add_run(self, trial: Trial) -> None:
        """Mirrors a finished run: parameters, curves, weights. Does nothing for a run already there."""
        self._work.put(lambda store: store.mirror_run(trial))

    def add_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """Mirrors a result record: mIoU, accuracies and the IoU of every class."""
        self._work.put(lambda store: store.mirror_result(trial, result))

    @property
    def failed(self) -> bool:
        """Whether something could not be delivered; final once the mirror has been left."""
        return self._failed

    def _serve(self) -> None:
        store = None
        while (job := self._work.get()) is not None and not self._enough.is_set():
            try:
                store = store or Store(self._profile)
                job(store)
            except Exception as error:  # whatever MLflow raises, the records are safe
                self._failed = True
                _warn(f"MLflow at {tracking_uri()} failed, records are kept, {self._later()}: {error}")
                return

    def _later(self) -> str:
        return f"`python -m pipelines.tracking.sync {self._profile}` delivers the rest"


def _warn(message: str) -> None:
    console = Console(stderr=True)
    console.print(f"warning: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
