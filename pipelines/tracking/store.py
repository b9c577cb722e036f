"""What MLflow has of a profile: a run per trial below the run of its variant, and a run for the report.

Everything can be repeated: what MLflow has is not stored again, and an interrupted upload is completed in the
same runs.
"""

import hashlib
import os
import socket
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Metric

from pipelines.tracking.connection import ACTIVE, FINGERPRINT, Connection, milliseconds
from pipelines.tracking.description import (
    NOTE,
    PARENT,
    common_tags,
    experiment_note,
    trial_note,
)
from pipelines.tracking.host_metrics import HostMetrics
from pipelines.tracking.state import TrialState
from pipelines.tracking.trial_run import TrialRun
from pipelines.tracking.values import progress_entry, start_time
from pipelines.tracking.variants import VariantRuns
from regproxy.runs.record import original_fingerprint
from regproxy.runs.trial import Trial

_DRIVER, _REPORT = "regproxy.driver", "regproxy.report"  # tags


class MlflowStore:
    """The experiments and runs of one profile in MLflow; for use by one thread.

    `trials` are all trials of the profile; without them, a variant counts only the trial in question.

    Raises:
        StorageError: MLflow failed, or a file of a run cannot be read; in the constructor and in each method.
    """

    def __init__(self, profile: str, trials: Sequence[Trial] = (), git_commit: str | None = None) -> None:
        self._profile, self._git_commit = profile, git_commit
        self._mlflow = Connection(profile)
        self._variants = VariantRuns(self._mlflow, trials, git_commit)
        self._training: dict[str, TrialRun] = {}  # by the trial's name
        self._host: HostMetrics | None = None
        self._driver = f"{socket.gethostname()}:{os.getcwd()}"

    def update(self, state: TrialState) -> None:
        """Bring the run of a trial up to date."""
        trial = state.trial
        record = trial.finished_record() if state.status == "FINISHED" else None
        try:
            with self._mlflow.locked(trial.workspace.run_dir):
                data = trial.variant.data.name
                note = experiment_note(self._profile, data)
                experiment = self._mlflow.experiment(f"{self._profile}/{data}", note)
                if record:
                    self._finish(trial, experiment, record, state.result)
                elif state.status not in ("WAITING", "FINISHED"):
                    self._continue(state, experiment)
                else:
                    self._close(trial, experiment)
        except Exception:
            self._training.pop(trial.name, None)  # somebody may have deleted the run
            raise

    def update_variants(self, waiting: Collection[str], *, last: bool) -> None:
        """Bring the runs of the variants up to date, see `VariantRuns.update`."""
        with self._mlflow.locked():
            self._variants.update(waiting, last=last)

    def add_host_metrics(self, states: Iterable[TrialState]) -> None:
        """Store the load of this machine in the runs that train on it, at most every ten seconds."""
        host = socket.gethostname()
        here = [state.trial.name for state in states if state.status == "RUNNING" and host in state.hosts]
        runs = [self._training[name] for name in here if name in self._training]
        if not runs:
            return
        self._host = self._host or HostMetrics()
        values, now = self._host.sample(), time.time()
        if not values:
            return
        with self._mlflow.locked():
            for run in runs:
                step = round(now - run.started)  # seconds: they grow after a resume too
                metrics = [Metric(name, value, milliseconds(now), step) for name, value in values.items()]
                self._mlflow.add_metrics(run.id, metrics)

    def add_report(self, folder: Path) -> None:
        """Store the files of the report in the run `report`, unless it has the same files."""
        with self._mlflow.locked(str(folder)):
            digest = hashlib.sha256()
            for file in sorted(file for file in folder.rglob("*") if file.is_file()):
                digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
            experiment = self._mlflow.experiment(self._profile, f"The report of profile {self._profile}.")
            found = self._mlflow.find_runs(experiment, "report")
            note = "Tables and figures: open report.html under Artifacts."
            tags = common_tags(self._profile, "all", self._git_commit) | {FINGERPRINT: "report", NOTE: note}
            run = found[0] if found else self._mlflow.create_run(experiment, "report", tags)
            if run.data.tags.get(_REPORT) != digest.hexdigest():
                self._mlflow.upload(run, folder)
                self._mlflow.client.set_tag(run.info.run_id, _REPORT, digest.hexdigest())
                self._mlflow.set_status(run.info.run_id, "FINISHED", time.time())

    def _continue(self, state: TrialState, experiment: str) -> None:
        """Store status and new points of a trial that this stage trains."""
        trial, run = state.trial, self._training.get(state.trial.name)
        if run is None:
            run = self._find(trial, experiment, trial.fingerprint)
            if run is None or run.status == "FINISHED":  # a finished trial that is trained again is a new run
                run = self._create(trial, experiment, trial.fingerprint, state.started or state.ended)
            run.describe(trial.variant.to_dict(), trial.fingerprint_parts)
            run.set_tag(_DRIVER, self._driver)
            self._training[trial.name] = run
        if state.hosts:
            run.set_tag("host", " ".join(dict.fromkeys(state.hosts)))
        run.add_points(map(progress_entry, state.points))
        if run.set_status(state.status, state.ended, state.error):
            self._variants.seed_changed(trial, experiment)

    def _finish(
        self, trial: Trial, experiment: str, record: dict[str, Any], result: dict[str, Any] | None
    ) -> None:
        """Store a finished trial and its result, unless MLflow has them."""
        self._training.pop(trial.name, None)
        fingerprint = original_fingerprint(record)
        run = self._find(trial, experiment, fingerprint)
        run = run or self._create(trial, experiment, fingerprint, start_time(record))
        if run.status != "FINISHED":
            run.finish(record)
        if result:
            run.add_result(result)
        self._variants.seed_changed(trial, experiment, result)

    def _close(self, trial: Trial, experiment: str) -> None:
        """End the run of an unfinished trial that a killed driver of this folder left active."""
        run = self._find(trial, experiment, trial.fingerprint)
        # With a server, another folder or machine may be training the trial.
        mine = self._mlflow.is_file or (run and run.tags.get(_DRIVER) == self._driver)
        if run and mine and run.status in ACTIVE:
            run.close()
            self._variants.seed_changed(trial, experiment)

    def _find(self, trial: Trial, experiment: str, fingerprint: str) -> TrialRun | None:
        """Return the newest run of a trial; variants that only score differently share a fingerprint."""
        name = trial.variant.name
        for run in self._mlflow.find_runs(experiment, fingerprint):
            if run.data.tags.get("variant", name) == name:
                parent = self._variants.find_or_create(trial, experiment, run.info.start_time / 1000)
                found = TrialRun(self._mlflow, trial, run)
                found.set_tag(PARENT, parent.info.run_id)
                return found
        return None

    def _create(self, trial: Trial, experiment: str, fingerprint: str, started: float) -> TrialRun:
        variant = trial.variant
        parent = self._variants.find_or_create(trial, experiment, started)
        tags = common_tags(self._profile, variant.data.name, self._git_commit) | {
            FINGERPRINT: fingerprint,
            PARENT: parent.info.run_id,
            NOTE: trial_note(trial),
            "variant": variant.name,
            "seed": str(trial.seed),
        }
        run = self._mlflow.create_run(experiment, f"seed {trial.seed}", tags, started)
        return TrialRun(self._mlflow, trial, run)
