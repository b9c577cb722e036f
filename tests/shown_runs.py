"""What MLflow shows, read through its own client."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from pipelines.tracking import tracking_uri


class Shown:
    """What MLflow shows at the current tracking URI."""

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(tracking_uri())

    def runs(self) -> list[Run]:
        experiments = [each.experiment_id for each in self.client.search_experiments()]
        return list(self.client.search_runs(experiments))

    def seed(self, number: int = 0) -> Run:
        """Return the only run of a seed."""
        (run,) = (run for run in self.runs() if run.data.tags.get("seed") == str(number))
        return run

    def variant(self) -> Run:
        """Return the only run of a variant."""
        (run,) = (run for run in self.runs() if "mlflow.parentRunId" not in run.data.tags)
        return run

    def points(self, run: Run, curve: str = "loss") -> list[tuple[int, int]]:
        """Return (step, milliseconds since 1970) of each point of a curve, in order of the steps."""
        history = self.client.get_metric_history(run.info.run_id, curve)
        return sorted((point.step, point.timestamp) for point in history)

    def everything(self) -> dict[str, Any]:
        """Return all experiments and runs with their points, and the files of the runs."""
        found: dict[str, Any] = {each.name: vars(each) for each in self.client.search_experiments()}
        for run in self.runs():
            history = {
                key: sorted(
                    (point.step, point.timestamp, point.value)
                    for point in self.client.get_metric_history(run.info.run_id, key)
                )
                for key in run.data.metrics
            }
            found[run.info.run_id] = [vars(run.info), run.data.params, run.data.tags, history]
        files = sorted(file for file in Path("mlartifacts").rglob("*") if file.is_file())
        return found | {"files": {str(file): (file.read_bytes(), file.stat().st_mtime) for file in files}}
