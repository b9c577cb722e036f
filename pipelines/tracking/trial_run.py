"""The run of a trial in MLflow: its curves, files, scores and status.

A curve has one point per step: if a step is trained again after a resume, the first point stays.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Run

from pipelines.tracking.connection import ACTIVE, Connection, milliseconds
from pipelines.tracking.description import CLASSES_PRESENT, COMMIT, NOTE, dataset_inputs, trial_note
from pipelines.tracking.values import CURVES, end_time, score_time, scores, settings
from regproxy.runs.classes_present import classes_present
from regproxy.runs.history import read_entries
from regproxy.runs.trial import Trial

_RESULT, _ERROR = "regproxy.result_fingerprint", "error"  # tags
_MAX_ERROR = 6000  # characters; MLflow's limit for a tag is 8000


class TrialRun:
    """The run of a trial; times are in seconds since 1970."""

    def __init__(self, mlflow: Connection, trial: Trial, run: Run) -> None:
        self._mlflow, self._trial, self._run = mlflow, trial, run
        self.id, self.tags, self.status = run.info.run_id, run.data.tags, run.info.status
        self.started = run.info.start_time / 1000
        self._history = Path(trial.workspace.run_dir) / "metrics.jsonl"

    @cached_property
    def _times(self) -> dict[str, dict[int, float]]:
        """The times of the points that MLflow has, by curve and step."""
        history, known = self._mlflow.client.get_metric_history, self._run.data.metrics
        return {
            curve: {point.step: point.timestamp / 1000 for point in history(self.id, curve)}
            for curve in CURVES
            if curve in known
        }

    def describe(self, variant: Mapping[str, Any], parts: Mapping[str, Any]) -> None:
        """Store all settings and the data; `variant` and `parts` are mappings as in a run record."""
        values = {"seed": self._trial.seed, **settings(variant)}
        self._mlflow.describe(self._run, values, dataset_inputs(self._trial, parts))

    def set_tag(self, key: str, value: str | None) -> None:
        """Set a tag unless it has this value; None removes it."""
        if value is None and key in self.tags:
            self._mlflow.client.delete_tag(self.id, key)
            del self.tags[key]
        elif value is not None and self.tags.get(key) != value:
            self._mlflow.client.set_tag(self.id, key, value)
            self.tags[key] = value

    def add_points(self, entries: Iterable[Mapping[str, Any]], default_time: float | None = None) -> None:
        """Store the points of lines of a metrics.jsonl; lines of earlier versions have no time."""
        new = []
        for entry in entries:
            for curve in CURVES:
                times = self._times.setdefault(curve, {})
                if curve in entry and entry["step"] not in times:
                    times[entry["step"]] = time = entry.get("time", default_time)
                    new.append(Metric(curve, entry[curve], milliseconds(time), entry["step"]))
        self._mlflow.add_metrics(self.id, new)

    def set_status(self, status: str, ended: float | None = None, error: str | None = None) -> bool:
        """Set status, end and error; return whether the status changed."""
        self.set_tag(_ERROR, error[:_MAX_ERROR] if error else None)
        self.set_tag(NOTE, trial_note(self._trial, error and error[:_MAX_ERROR]))
        changed, self.status = status != self.status, status
        if changed:
            self._mlflow.set_status(self.id, status, None if status in ACTIVE else ended)
        return changed

    def finish(self, record: Mapping[str, Any]) -> None:
        """Store settings, curves, record and weights, and then mark the run as finished."""
        ended = end_time(record)
        self.describe(record["variant"], record["fingerprint_parts"])
        self.add_points(read_entries(self._history), ended)
        for name in ("run.json", "model.safetensors"):
            self._mlflow.upload(self._run, self._history.with_name(name))
        self.set_tag(COMMIT, record.get("git_commit"))
        self.set_tag("host", record.get("host"))
        self.set_status("FINISHED", ended)

    def add_result(self, result: Mapping[str, Any]) -> None:
        """Store the scores of a result record."""
        if self.tags.get(_RESULT) != result["fingerprint"]:
            self._mlflow.replace_metrics(self._run, scores(result), score_time(result))
            self.set_tag(CLASSES_PRESENT, classes_present([result]))
            self.set_tag(_RESULT, result["fingerprint"])

    def close(self) -> None:
        """Mark the run as failed or killed when its training, whose driver is gone, gave its last sign."""
        entries, log = read_entries(self._history), self._history.with_name("error.log")
        if entries and milliseconds(entries[0].get("started", 0)) == milliseconds(self.started):
            self.add_points(entries, self.started)
        ended = max([self.started, *(time for times in self._times.values() for time in times.values())])
        lines = log.read_text().strip().splitlines() if log.is_file() else []
        error = lines[-1] if lines else None
        self.set_status("FAILED" if error else "KILLED", ended, error)
