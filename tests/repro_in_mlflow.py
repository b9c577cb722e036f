"""What MLflow must show after `dvc repro` on the smoke profile."""

from pathlib import Path
from typing import Any

from mlflow import MlflowClient


def read_mlflow(project: Path) -> list[dict[str, Any]]:
    """Return the runs that MLflow has: the experiment's name, fields of MLflow's run, points of the loss."""
    client = MlflowClient(f"sqlite:///{project / 'mlflow.db'}")
    runs = []
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            history = client.get_metric_history(run.info.run_id, "loss")
            points = sorted((point.step, point.timestamp) for point in history)
            fields = {**dict(run.info), **run.data.to_dictionary()}
            runs.append({"experiment": experiment.name, **fields, "loss": points})
    return runs


def check_complete(project: Path) -> None:
    """Check a finished smoke profile: runs of variants and seeds with true times, scores, files, a report."""
    runs = read_mlflow(project)
    assert {run["status"] for run in runs} == {"FINISHED"}
    for name in ("smoke/ade20k", "smoke/cityscapes"):
        seeds = [run for run in runs if run["experiment"] == name and "seed" in run["tags"]]
        variants = [run for run in runs if run["experiment"] == name and "seed" not in run["tags"]]
        assert (len(variants), len(seeds)) == (2, 4)
        for run in seeds:
            names = {"miou", "multi_scale_miou", "iou/road", "loss", "val_miou"}
            assert names <= run["metrics"].keys()
            steps, times = zip(*run["loss"], strict=True)
            assert steps == (2, 4, 6, 8)
            assert run["start_time"] < times[0] < times[1] < times[2] < times[3] < run["end_time"]
            files = (project / "mlartifacts" / run["artifact_uri"].split(":/")[1]).iterdir()
            assert sorted(file.name for file in files) == ["model.safetensors", "run.json"]
            assert run["params"]["recipe.steps"] == "8"
        for run in variants:
            below = [seed for seed in seeds if seed["tags"]["mlflow.parentRunId"] == run["run_id"]]
            assert run["metrics"]["miou max"] == max(seed["metrics"]["miou"] for seed in below)
            # MLflow cannot move a start, so the variant has that of the seed whose first report came first.
            assert run["start_time"] in [seed["start_time"] for seed in below]
            assert run["end_time"] == max(seed["end_time"] for seed in below)
            assert run["params"].keys() >= {"variant", "model.head"} and len(run["params"]) < 10
    (report,) = (run for run in runs if run["experiment"] == "smoke")
    assert report["run_name"] == "report"


def check_ends(project: Path) -> None:
    """Check the statuses after a killed driver, a resumed one and a trial that failed."""
    by_status: dict[str, list[dict]] = {}
    for run in read_mlflow(project):
        by_status.setdefault(run["status"], []).append(run)
        assert run["metrics"].get("miou") is not None or run["run_name"] == "report" or "doomed" in str(run)
    assert by_status.keys() == {"FINISHED", "FAILED"}
    failed = {(run["experiment"], run["run_name"]) for run in by_status["FAILED"]}
    assert ("smoke/ade20k", "doomed") in failed and ("smoke/ade20k", "seed 0") in failed
    assert any("the loss is" in run["tags"].get("error", "") for run in by_status["FAILED"])
