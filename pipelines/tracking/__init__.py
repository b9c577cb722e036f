"""Copies of the run and result records in MLflow. The records are the truth; no stage needs the copies."""

import os
from pathlib import Path

SQLITE = "sqlite:///"


def tracking_uri() -> str:
    """Return MLFLOW_TRACKING_URI, or the URI of the SQLite file mlflow.db in the working directory."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{Path('mlflow.db').absolute()}"


def import_store() -> type:
    """Return the class MlflowStore; set MLflow's variables that the user has not set, and import MLflow."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")  # a retry could create a run twice
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "5")  # seconds
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # the live table is there
    from pipelines.tracking.store import MlflowStore

    return MlflowStore
