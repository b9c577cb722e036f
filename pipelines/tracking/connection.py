"""The connection to MLflow: its lock and errors, experiments, and where files of runs are stored.

With a SQLite file, the files of runs lie in the folder mlartifacts beside it. MLflow stores their place as
`mlflow-artifacts:/...`, which `make mlflow` maps to that folder, so the checkout may be moved.
"""

import logging
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository
from sqlalchemy.exc import SQLAlchemyError

from pipelines.tracking import SQLITE, tracking_uri
from regproxy.errors import StorageError
from regproxy.storage.lock import hold_lock

FINGERPRINT = "regproxy.fingerprint"  # the tag that identifies a run
ACTIVE = ("RUNNING", "SCHEDULED")  # statuses of runs that have not ended
_PROXIED = "mlflow-artifacts:/"
_MAX_METRICS, _MAX_PARAMS, _MAX_PARAM_CHARACTERS = 1000, 100, 6000  # MLflow's limits for one request


class Connection:
    """A client of MLflow for one profile."""

    def __init__(self, profile: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # hides the log of database migrations
        self._sync = f"`python -m pipelines.tracking.sync {profile}` uploads what is missing"
        uri = tracking_uri()
        self._database = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
        self.is_file = self._database is not None
        with self.locked():
            self.client = MlflowClient(uri)

    @contextmanager
    def locked(self, run_dir: str | None = None) -> Iterator[None]:
        """Hold the lock on MLflow's data, so that two processes never create the same run or file at once.

        Raises:
            StorageError: MLflow failed in this context, or a file of `run_dir` cannot be read.
        """
        path = self._database.with_name(f"{self._database.name}.lock") if self._database else "mlflow.lock"
        try:
            with hold_lock(Path(path)):
                yield
        except (MlflowException, OSError, SQLAlchemyError) as error:
            file = getattr(error, "filename", None)  # of an OSError about a local file
            if run_dir and file and Path(file).is_relative_to(run_dir):
                problem = f"{file} cannot be read: {error.strerror}. Once it can, {self._sync}"
                raise StorageError(problem) from error
            raise StorageError(
                f"MLflow at {tracking_uri()} failed: {error}. The records are kept; once MLflow works again, "
                f"{self._sync}"
            ) from error

    def experiment(self, name: str, description: str) -> str:
        """Return the id of an experiment; create it if there is none, and restore it if it was deleted."""
        found = self.client.get_experiment_by_name(name)
        if found is None:
            place = f"{_PROXIED}{re.sub(r'[^A-Za-z0-9.-]', '_', name)}" if self._database else None
            return self.client.create_experiment(name, place, {"mlflow.note.content": description})
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
            print(
                f"warning: experiment {name} had been deleted in MLflow, which allows no second one of this "
                f"name: it is restored with its runs. `mlflow gc` deletes one completely",
                file=sys.stderr,
            )
        return found.experiment_id

    def upload(self, run: Run, path: Path) -> None:
        """Store a file, or the content of a folder, with a run."""
        uri = run.info.artifact_uri
        if self._database and uri.startswith(_PROXIED):
            folder = self._database.with_name("mlartifacts") / uri.removeprefix(_PROXIED)
            target = LocalArtifactRepository(str(folder))
            target.log_artifacts(str(path)) if path.is_dir() else target.log_artifact(str(path))
        elif path.is_dir():
            self.client.log_artifacts(run.info.run_id, str(path))
        else:
            self.client.log_artifact(run.info.run_id, str(path))

    def find_runs(self, experiment: str, fingerprint: str) -> list[Run]:
        """Return the runs of an experiment that have this fingerprint, the newest first."""
        return list(self.client.search_runs([experiment], f"tags.`{FINGERPRINT}` = '{fingerprint}'"))

    def create_run(
        self, experiment: str, name: str, tags: dict[str, str], started: float | None = None
    ) -> Run:
        """Create a run; its start cannot be changed later."""
        start = None if started is None else milliseconds(started)
        return self.client.create_run(experiment, start, tags, name)

    def describe(self, run: Run, settings: Mapping[str, Any], datasets: list[DatasetInput]) -> None:
        """Store the parameters that a run does not have, as MLflow refuses to change one, and its data."""
        missing = [
            Param(key, str(value)[:_MAX_PARAM_CHARACTERS])
            for key, value in settings.items()
            if key not in run.data.params
        ]
        for start in range(0, len(missing), _MAX_PARAMS):
            self.client.log_batch(run.info.run_id, params=missing[start : start + _MAX_PARAMS])
        if not (run.inputs and run.inputs.dataset_inputs):
            self.client.log_inputs(run.info.run_id, datasets)

    def add_metrics(self, run_id: str, metrics: Sequence[Metric]) -> None:
        """Store points of metrics."""
        for start in range(0, len(metrics), _MAX_METRICS):
            self.client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS])

    def replace_metrics(self, run: Run, values: Mapping[str, float], measured: float) -> None:
        """Store values without steps that were `measured` then; values that the run has are left out.

        MLflow shows the newest point, so a value that replaces another one gets the present time.
        """
        known, now = run.data.metrics, time.time()
        new = {name: value for name, value in values.items() if known.get(name) != value}
        metrics = [
            Metric(name, value, milliseconds(now if name in known else measured), 0)
            for name, value in new.items()
        ]
        self.add_metrics(run.info.run_id, metrics)

    def set_status(self, run_id: str, status: str, ended: float | None) -> None:
        """Set the status of a run and, unless `ended` is None, the time of its end.

        MLflow cannot remove an end, so a run that is resumed shows the earlier one until it ends again.
        """
        if ended is None:
            self.client.update_run(run_id, status)
        else:
            self.client.set_terminated(run_id, status, milliseconds(ended))


def milliseconds(seconds: float) -> int:
    """Return a time in seconds since 1970 as MLflow stores it."""
    return round(seconds * 1000)
