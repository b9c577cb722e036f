"""Upload records to MLflow while a stage runs.

A slow or unreachable MLflow server delays no stage by more than a second and fails none.
`python -m pipelines.tracking.sync demo` uploads whatever is missing; running it again is safe.
"""

import os
import queue
import subprocess
import sys
import threading
from typing import Any

from pipelines.tracking import SQLITE, import_store, tracking_uri
from regproxy.errors import StorageError
from regproxy.runs.trial import Trial

_SERVER_TIMEOUT_S = 0.5  # wait at the end of a stage; the wait for a local SQLite file has no limit


class Uploader:
    """Upload run and result records in a background thread; a context manager.

    If a server is still busy at the end of the context, a separate process uploads the rest.
    """

    def __init__(self, profile: str) -> None:
        self.failed = False  # whether an upload failed; final after the context
        self._profile = profile
        self._uploads: queue.Queue[tuple[Trial, dict[str, Any] | None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._upload_all, name="mlflow-upload", daemon=True)
        self._timed_out = threading.Event()

    def __enter__(self) -> "Uploader":
        self._thread.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._uploads.put(None)
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
            f"warning: MLflow at {tracking_uri()} is slow; a background process uploads the rest. "
            f"If it fails, run `python {' '.join(command)}`",
            file=sys.stderr,
        )

    def add_run(self, trial: Trial) -> None:
        """Upload parameters, curves, record and weights of a finished trial, unless MLflow has them."""
        self._uploads.put((trial, None))

    def add_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """Upload a finished trial with its result record: mIoU, accuracies and the IoU of every class."""
        self._uploads.put((trial, result))

    def _upload_all(self) -> None:
        try:
            store, store_type = None, import_store()  # takes seconds: here, no stage waits for it
            while (upload := self._uploads.get()) and not self._timed_out.is_set():
                store = store or store_type(self._profile)
                store.upload(*upload)
        except Exception as error:
            self.failed = True
            if not isinstance(error, StorageError):
                raise  # a bug: Python prints the traceback of a thread, and the stage continues
            print(f"warning: {error}", file=sys.stderr)
