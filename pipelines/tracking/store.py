"""MLflow's side of the mirror; the only file that imports mlflow.

Whatever is there already is found by its tag and completed, never doubled: a mirror that was killed half way
through a run goes on with that run.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial

_TAG, _RESULT_TAG = "regproxy.fingerprint", "regproxy.result"
_PARENT = "mlflow.parentRunId"
_CURVES = ("loss", "learning_rate", "images_per_second", "val_miou")
_SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """Returns MLFLOW_TRACKING_URI, or the SQLite file mlflow.db in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}{Path('mlflow.db').absolute()}"


def is_file(uri: str) -> bool:
    """Whether runs go to a file here instead of to a server."""
    return uri.startswith(_SQLITE)


class Store:
    """Finds or makes experiments and runs; used by one thread only.

    Processes of one machine take turns, a run at a time: none makes a run that another is making, and MLflow
    itself fails where several make a SQLite file at once.
    """

    def __init__(self, profile: str) -> None:
        for name, value in {
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a slow server would make what is asked for twice
            "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
        }.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # its first steps with a new database
        with _turn():
            self._client = MlflowClient(tracking_uri())
        self._profile = profile
        self._experiments: dict[str, str] = {}
        self._finished: dict[str, dict[str, str]] = {}  # by experiment: tag -> run id

    def mirror_run(self, trial: Trial) -> None:
        """Brings a finished run there: parameters, curves, record and weights."""
        with _turn():
            self._mirror_run(trial)

    def _mirror_run(self, trial: Trial) -> None:
        from mlflow.entities import Metric, Param

        record, run_dir = trial.finished_record(), Path(trial.run_dir)
        experiment = self._experiment(trial)
        if record is None or trial.fingerprint in self._finished[experiment]:
            return
        run_id, begun = self._run(
            experiment, trial.fingerprint, f"seed {trial.seed}", parent=self._parent(trial)
        )
        values = flatten({"variant": record["variant"], "seed": record["seed"]})
        params = [Param(key.removeprefix("variant."), str(value)[:6000]) for key, value in values.items()]
        for start in range(0, len(params), 100):  # equal ones may be written again
            self._client.log_batch(run_id, params=params[start : start + 100])
        steps = {key: self._steps(run_id, key) if begun else set() for key in _CURVES}
        now = time.time_ns() // 10**6
        metrics = [
            Metric(key, entry[key], now, entry["step"])
            for entry in read_history(run_dir / "metrics.jsonl")
            for key in _CURVES
            if key in entry and entry["step"] not in steps[key]
        ]
        for start in range(0, len(metrics), 1000):
            self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        for name in ("run.json", "model.safetensors"):
            self._client.log_artifact(run_id, str(run_dir / name))
        self._finish(experiment, run_id, trial.fingerprint)

    def mirror_result(self, trial: Trial, result: dict[str, Any]) -> None:
        """Brings the scores of a run there, after the run itself."""
        from mlflow.entities import Metric

        with _turn():
            self._mirror_run(trial)
            run_id = self._finished[self._experiment(trial)][trial.fingerprint]
            there = self._client.get_run(run_id).data
            if there.tags.get(_RESULT_TAG) == result["fingerprint"]:
                return
            step = result.get("steps", 0)
            scores = {
                name: value for name, value in scores_of(result).items() if there.metrics.get(name) != value
            }
            now = time.time_ns() // 10**6
            self._client.log_batch(
                run_id, metrics=[Metric(key, value, now, step) for key, value in scores.items()]
            )
            self._client.set_tag(run_id, _RESULT_TAG, result["fingerprint"])

    def _experiment(self, trial: Trial) -> str:
        name = f"{self._profile}/{trial.variant.data.name}"
        if name not in self._experiments:
            found = self._client.get_experiment_by_name(name)
            place = None if "MLFLOW_TRACKING_URI" in os.environ else Path("mlartifacts").absolute().as_uri()
            self._experiments[name] = (
                found.experiment_id
                if found
                else self._client.create_experiment(name, artifact_location=place)
            )
        experiment = self._experiments[name]
        if experiment not in self._finished:
            runs = self._client.search_runs([experiment], f"tags.`{_TAG}` != ''", max_results=5000)
            self._finished[experiment] = {
                run.data.tags[_TAG]: run.info.run_id for run in runs if run.info.status == "FINISHED"
            }
        return experiment

    def _parent(self, trial: Trial) -> str:
        experiment, tag = self._experiment(trial), f"variant {trial.variant.name}"
        if tag not in self._finished[experiment]:
            run_id, _ = self._run(experiment, tag, trial.variant.name, parent=None)
            self._finish(experiment, run_id, tag)
        return self._finished[experiment][tag]

    def _run(self, experiment: str, tag: str, name: str, *, parent: str | None) -> tuple[str, bool]:
        """Returns the run with this tag, made if there is none, and whether it had been begun."""
        found = self._client.search_runs([experiment], f"tags.`{_TAG}` = '{tag}'", max_results=1)
        if found:
            return found[0].info.run_id, True
        tags = {_TAG: tag, **({_PARENT: parent} if parent else {})}
        return self._client.create_run(experiment, run_name=name, tags=tags).info.run_id, False

    def _finish(self, experiment: str, run_id: str, tag: str) -> None:
        self._client.set_terminated(run_id)
        self._finished[experiment][tag] = run_id

    def _steps(self, run_id: str, key: str) -> set[int]:
        return {metric.step for metric in self._client.get_metric_history(run_id, key)}


def scores_of(result: dict[str, Any]) -> dict[str, float]:
    """Returns the scores of a result record by the names that MLflow shows."""
    scores = {name: result[name] for name in ("miou", "pixel_accuracy", "mean_accuracy")}
    for name, value in zip(result["classes"], result["iou_per_class"], strict=True):
        if value is not None:
            scores[f"iou/{name}"] = value
    if result.get("multi_scale"):
        scores["multi_scale_miou"] = result["multi_scale"]["miou"]
    if result.get("region_entropy") is not None:
        scores["region_entropy"] = result["region_entropy"]
    return scores


@contextlib.contextmanager
def _turn() -> Iterator[None]:
    """Waits for this process's turn: a stage and what the stage before it left behind want the same runs."""
    uri = tracking_uri()
    with Path(f"{uri.removeprefix(_SQLITE)}.lock" if is_file(uri) else "mlflow.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def flatten(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
