"""MLflow as a mirror of the records: one experiment a profile and data set, a parent run a cell, a child
run a seed.

The only file that imports mlflow, and only in the mirror's own thread: a slow or absent server delays no
training and fails none. Records are the truth; what was not mirrored is by the next run of the stage.
"""

import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console

from regproxy.train.history import read_history
from regproxy.train.trial import Trial

_CLOSING_PATIENCE_S = 120.0
_TAG = "regproxy.identity"
_PARENT = "mlflow.parentRunId"
_CURVES = ("loss", "learning_rate", "images_per_second", "val_miou")


def tracking_uri() -> str:
    """Returns MLFLOW_TRACKING_URI, or the SQLite file mlflow.db in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path('mlflow.db').absolute()}"


class Mirror:
    """Copies run and result records to MLflow in the background; a context manager."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._work: queue.Queue[Callable[[_Store], None] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._serve, name="mlflow-mirror", daemon=True)

    def __enter__(self) -> "Mirror":
        self._thread.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._work.put(None)
        self._thread.join(_CLOSING_PATIENCE_S)
        if self._thread.is_alive():
            _warn(f"MLflow at {tracking_uri()} is slow, the rest is mirrored next time")

    def add_run(self, trial: Trial) -> None:
        """Mirrors a finished run: parameters, curves, weights. Does nothing for a run already there."""
        self._work.put(lambda store: store.mirror_run(trial))

    def add_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """Mirrors a result record: mIoU, accuracies and the IoU of every class."""
        self._work.put(lambda store: store.mirror_result(trial, result))

    def _serve(self) -> None:
        store = None
        while (job := self._work.get()) is not None:
            try:
                store = store or _Store(self._profile)
                job(store)
            except Exception as error:  # whatever MLflow raises, the records are safe
                _warn(f"MLflow at {tracking_uri()} could not be reached, records are kept: {error}")
                while self._work.get() is not None:  # one failure is enough to know
                    pass
                return


class _Store:
    """The MLflow side: finds or makes experiments and runs; used by one thread only."""

    def __init__(self, profile: str) -> None:
        for name, value in {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
        }.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # its first steps with a new database
        self._client = MlflowClient(tracking_uri())
        self._profile = profile
        self._experiments: dict[str, str] = {}
        self._runs: dict[str, dict[str, str]] = {}  # by experiment: tag -> run id

    def mirror_run(self, trial: Trial) -> None:
        from mlflow.entities import Metric, Param

        record, run_dir = trial.finished_record(), Path(trial.run_dir)
        experiment = self._experiment(trial)
        if record is None or trial.identity in self._runs[experiment]:
            return
        run_id = self._start(experiment, trial.identity, f"seed {trial.seed}", parent=self._parent(trial))
        values = flatten({"cell": record["cell"], "seed": record["seed"]})
        params = [Param(key.removeprefix("cell."), str(value)[:6000]) for key, value in values.items()]
        now = time.time_ns() // 10**6
        metrics = [
            Metric(key, entry[key], now, entry["step"])
            for entry in read_history(run_dir / "metrics.jsonl")
            for key in _CURVES
            if key in entry
        ]
        for start in range(0, len(params), 100):
            self._client.log_batch(run_id, params=params[start : start + 100])
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        for name in ("run.json", "model.safetensors"):
            self._client.log_artifact(run_id, str(run_dir / name))
        self._finish(experiment, run_id, trial.identity)

    def mirror_result(self, trial: Trial, result: dict[str, Any]) -> None:
        from mlflow.entities import Metric

        self.mirror_run(trial)
        run_id = self._runs[self._experiment(trial)][trial.identity]
        if self._client.get_run(run_id).data.tags.get("regproxy.result") == result["identity"]:
            return
        scores = {name: result[name] for name in ("miou", "pixel_accuracy", "mean_accuracy")}
        for name, value in zip(result["classes"], result["iou_per_class"], strict=True):
            if value is not None:
                scores[f"iou/{name}"] = value
        if result.get("multi_scale"):
            scores["multi_scale_miou"] = result["multi_scale"]["miou"]
        if result.get("region_entropy") is not None:
            scores["region_entropy"] = result["region_entropy"]
        now = time.time_ns() // 10**6
        metrics = [Metric(key, value, now, result.get("steps", 0)) for key, value in scores.items()]
        self._client.log_batch(run_id, metrics=metrics)
        self._client.set_tag(run_id, "regproxy.result", result["identity"])

    def _experiment(self, trial: Trial) -> str:
        name = f"{self._profile}/{trial.cell.data.name}"
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            place = None if "MLFLOW_TRACKING_URI" in os.environ else Path("mlartifacts").absolute().as_uri()
            self._experiments[name] = (
                found.experiment_id
                if found
                else self._client.create_experiment(name, artifact_location=place)
            )
        experiment = self._experiments[name]
        if experiment not in self._runs:
            runs = self._client.search_runs([experiment], f"tags.`{_TAG}` != ''", max_results=5000)
            self._runs[experiment] = {
                run.data.tags[_TAG]: run.info.run_id for run in runs if run.info.status == "FINISHED"
            }
        return experiment

    def _parent(self, trial: Trial) -> str:
        experiment, tag = self._experiment(trial), f"cell {trial.cell.name}"
        if tag not in self._runs[experiment]:
            run_id = self._start(experiment, tag, trial.cell.name, parent=None)
            self._finish(experiment, run_id, tag)
        return self._runs[experiment][tag]

    def _start(self, experiment: str, tag: str, name: str, *, parent: str | None) -> str:
        tags = {_TAG: tag, **({_PARENT: parent} if parent else {})}
        return self._client.create_run(experiment, run_name=name, tags=tags).info.run_id

    def _finish(self, experiment: str, run_id: str, tag: str) -> None:
        self._client.set_terminated(run_id)
        self._runs[experiment][tag] = run_id


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _warn(message: str) -> None:
    Console(stderr=True).print(f"warning: {message}", style="yellow", markup=False, highlight=False)
