"""Show trials in MLflow while a stage runs.

A slow or unreachable MLflow server delays no stage by more than a second and fails none.
`python -m pipelines.tracking.sync demo` uploads whatever is missing; running it again is safe.
"""

import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.tracking import SQLITE, import_store, tracking_uri
from pipelines.tracking.state import TrialState
from regproxy.errors import StorageError
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

if TYPE_CHECKING:
    from pipelines.tracking.store import MlflowStore

_INTERVAL_S = 5.0  # between uploads of points
_RETRY_INTERVAL_S = 30.0  # after a failure
_SERVER_TIMEOUT_S = 0.5  # wait at the end of a stage; the wait for a local SQLite file has no limit


class Uploader:
    """Keep the runs of a profile in MLflow up to date in a background thread; a context manager.

    The methods only note what happened. The thread uploads it, and tries again if MLflow fails. At the end of
    the context, trainings that have not ended count as killed. If a server is still busy then, a separate
    process uploads the rest.

    Args:
        profile: its name.
        trials: all trials of the profile, which say what the variants have in common.
        git_commit: commit of the source code that trains, if it is known.
    """

    def __init__(self, profile: str, trials: Sequence[Trial] = (), git_commit: str | None = None) -> None:
        self.failed = False  # whether something is not in MLflow; final after the context
        self._profile, self._options = profile, (trials, git_commit)
        self._states: dict[str, TrialState] = {}  # by the trial's name
        self._uploaded: dict[str, int] = {}  # the version of each state that MLflow has
        self._report: Path | None = None
        self._lock = threading.Lock()  # guards the states; is never held during an upload
        self._thread = threading.Thread(target=self._run, name="mlflow-upload", daemon=True)
        self._news, self._closing, self._timed_out = threading.Event(), threading.Event(), threading.Event()

    def __enter__(self) -> "Uploader":
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        for state in list(self._states.values()):
            if state.status in ("RUNNING", "SCHEDULED"):
                self._note(state.trial, status="KILLED", ended=time.time())
        self._closing.set()
        self._news.set()
        self._thread.join(None if tracking_uri().startswith(SQLITE) else _SERVER_TIMEOUT_S)
        if not self._thread.is_alive():
            return
        self._timed_out.set()
        command = ["-m", "pipelines.tracking.sync", self._profile]
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
            **dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL),
        )
        print(
            f"warning: MLflow at {tracking_uri()} has not everything yet; a background process uploads the "
            f"rest. If it fails, run `python {' '.join(command)}`",
            file=sys.stderr,
        )

    def add_missing(self, trial: Trial) -> None:
        """Note a trial that will be trained; a run that a killed driver left running ends."""
        self._note(trial)

    def progress(self, trial: Trial, hosts: list[str], progress: Progress | None) -> None:
        """Note a report of a training on `hosts`; no hosts mean that the trial waits to be resumed."""
        with self._lock:
            state = self._states.setdefault(trial.name, TrialState(trial))
            if not hosts:
                if state.status == "RUNNING":
                    state.status, state.version = "SCHEDULED", state.version + 1
                return
            state.hosts, state.started = list(hosts), state.started or time.time()
            if progress:
                state.started = progress.started or state.started
                state.points.append(progress)
                started, state.status = state.status != "RUNNING", "RUNNING"
                state.version += 1
                if started:
                    self._news.set()

    def ended(self, trial: Trial, error: str | None) -> None:
        """Note the end of a training: it finished (`error` is None) or failed."""
        if error is None:
            self.add_run(trial)
        else:
            self._note(trial, status="FAILED", ended=time.time(), error=error)

    def add_run(self, trial: Trial) -> None:
        """Upload settings, curves, record and weights of a finished trial, unless MLflow has them."""
        self._note(trial, status="FINISHED")

    def add_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """Upload a finished trial with its result record: mIoU, accuracies and the IoU of every class."""
        result = {key: value for key, value in result.items() if key != "confusion_per_image"}  # large
        self._note(trial, status="FINISHED", result=result)

    def add_report(self, folder: Path) -> None:
        """Upload the profile's report."""
        self._report = folder
        self._news.set()

    def _note(self, trial: Trial, **changes: Any) -> None:
        with self._lock:
            state = self._states.get(trial.name) or TrialState(trial)
            self._states[trial.name] = replace(state, version=state.version + 1, **changes)
        self._news.set()

    def _run(self) -> None:
        """Upload what is new, until the end of the context."""
        try:
            store_type, store = import_store(), None  # takes seconds: here, no stage waits for it
            while not self._timed_out.is_set():
                self._news.clear()  # before the next line, so that no signal is lost
                closing = self._closing.is_set()
                problems: list[StorageError] = []
                try:
                    store = store or store_type(self._profile, *self._options)
                    problems = self._upload(store, closing)
                except StorageError as problem:
                    problems = [problem]
                if problems and not self.failed:
                    print(f"warning: {problems[0]}", file=sys.stderr)
                self.failed = bool(problems)
                if closing:
                    return
                if problems:
                    self._closing.wait(_RETRY_INTERVAL_S)
                else:
                    self._news.wait(_INTERVAL_S)
        except Exception:
            self.failed = True
            raise  # a bug: Python prints the traceback of a thread, and the stage continues

    def _upload(self, store: "MlflowStore", closing: bool) -> list[StorageError]:
        """Upload all that is new; return why some of it could not be uploaded."""
        problems = []
        with self._lock:
            states = [replace(state, points=list(state.points)) for state in self._states.values()]
        states.sort(key=lambda state: state.started or math.inf)  # the first seed gives its variant the start
        for state in states:
            name = state.trial.name
            if self._uploaded.get(name) == state.version or self._timed_out.is_set():
                continue
            try:
                store.update(state)
            except StorageError as problem:
                problems.append(problem)
                continue
            self._uploaded[name] = state.version
            with self._lock:
                del self._states[name].points[: len(state.points)]
        waiting = () if closing else {state.trial.name for state in states if state.status == "WAITING"}
        store.update_variants(waiting, last=closing)
        store.add_host_metrics(states)
        if self._report:
            store.add_report(self._report)
            self._report = None
        return problems
