"""Runs and scores in MLflow: an experiment per profile and data set, a run per variant, a child run per seed.

A tag identifies each run. An interrupted upload is completed in the same run, and nothing is stored twice.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipelines.tracking import SQLITE, tracking_uri
from regproxy.errors import StorageError
from regproxy.runs.history import read_history
from regproxy.runs.record import original_fingerprint
from regproxy.runs.trial import Trial
from regproxy.storage.lock import hold_lock

_FINGERPRINT, _RESULT = "regproxy.fingerprint", "regproxy.result_fingerprint"  # tags
_CURVES = ("loss", "learning_rate", "images_per_second", "val_miou")
_SCORES = ("miou", "pixel_accuracy", "mean_accuracy", "region_entropy")
_MAX_METRICS = 1000  # MLflow's limit for one request


class MlflowStore:
    """The experiments and runs of one profile in MLflow; for use by one thread.

    Raises:
        StorageError: MLflow failed, or a file of a run cannot be read; in the constructor and in `upload`.
    """

    def __init__(self, profile: str) -> None:
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # hides the log of database migrations
        self._profile = profile
        with self._locked():
            self._client = MlflowClient(tracking_uri())

    def upload(self, trial: Trial, result: dict[str, Any] | None = None) -> None:
        """Upload a finished trial and its result record, unless MLflow has them."""
        with self._locked(trial.workspace.run_dir):
            record = trial.finished_record()
            if record is None:
                return
            run = self._find_or_create_run(trial, original_fingerprint(record))
            if run.info.status != "FINISHED":
                self._upload_run(run.info.run_id, trial, record)
            if result and run.data.tags.get(_RESULT) != result["fingerprint"]:
                new = dict(scores(result).items() - run.data.metrics.items())
                now_ms = time.time_ns() // 10**6
                metrics = [Metric(key, value, now_ms, step=0) for key, value in new.items()]
                self._client.log_batch(run.info.run_id, metrics=metrics)
                self._client.set_tag(run.info.run_id, _RESULT, result["fingerprint"])

    @contextmanager
    def _locked(self, run_dir: str | None = None) -> Iterator[None]:
        """Hold a lock: processes would create runs twice, and fail to create a SQLite file together."""
        uri = tracking_uri()
        path = f"{uri.removeprefix(SQLITE)}.lock" if uri.startswith(SQLITE) else "mlflow.lock"
        sync = f"`python -m pipelines.tracking.sync {self._profile}` uploads what is missing"
        try:
            with hold_lock(Path(path)):
                yield
        except (MlflowException, OSError, SQLAlchemyError) as error:
            file = getattr(error, "filename", None)  # of an OSError about a local file
            if run_dir and file and Path(file).is_relative_to(run_dir):
                raise StorageError(f"{file} cannot be read: {error.strerror}. Once it can, {sync}") from error
            raise StorageError(
                f"MLflow at {uri} failed: {error}. The records are kept; once MLflow works again, {sync}"
            ) from error

    def _find_or_create_run(self, trial: Trial, fingerprint: str) -> Run:
        name = f"{self._profile}/{trial.variant.data.name}"
        found = self._client.get_experiment_by_name(name)
        local = None if "MLFLOW_TRACKING_URI" in os.environ else Path("mlartifacts").absolute().as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment(name, local)

        def find_or_create(tag: str, name: str, tags: dict[str, str]) -> Run:
            found = self._client.search_runs([experiment], f"tags.`{_FINGERPRINT}` = '{tag}'", max_results=1)
            tags = {_FINGERPRINT: tag, **tags}
            return found[0] if found else self._client.create_run(experiment, run_name=name, tags=tags)

        parent = find_or_create(f"variant {trial.variant.name}", trial.variant.name, {})
        if parent.info.status != "FINISHED":
            self._client.set_terminated(parent.info.run_id)
        tags = {"mlflow.parentRunId": parent.info.run_id}
        return find_or_create(fingerprint, f"seed {trial.seed}", tags)

    def _upload_run(self, run_id: str, trial: Trial, record: dict[str, Any]) -> None:
        """Upload parameters, curves, record and weights, and then mark the run as finished."""
        values = flatten({"variant": trial.variant.name, "seed": trial.seed, **record["variant"]})
        params = [Param(key, str(value)[:6000]) for key, value in values.items() if key != "name"]
        self._client.log_batch(run_id, params=params)
        # MLflow ignores a point that equals a stored one, its time included: this can be repeated.
        finished_ms = int(datetime.fromisoformat(record["finished"]).timestamp() * 1000)
        history = read_history(Path(trial.workspace.run_dir, "metrics.jsonl"))
        curves = ((key, entry) for entry in history for key in _CURVES if key in entry)
        metrics = [Metric(key, entry[key], finished_ms, entry["step"]) for key, entry in curves]
        for start in range(0, len(metrics), _MAX_METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + _MAX_METRICS])
        for name in ("run.json", "model.safetensors"):
            self._client.log_artifact(run_id, str(Path(trial.workspace.run_dir, name)))
        self._client.set_terminated(run_id)


def scores(result: dict[str, Any]) -> dict[str, float]:
    """Return the scores of a result record by their names in MLflow; mIoU and accuracies in 0..1."""
    found = {name: result.get(name) for name in _SCORES}
    found["multi_scale_miou"] = (result.get("multi_scale") or {}).get("miou")
    for name, value in zip(result["classes"], result["iou_per_class"], strict=True):
        found[f"iou/{name}"] = value
    return {name: value for name, value in found.items() if value is not None}


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one mapping with dotted keys: {"a": {"b": 1}} becomes {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
