"""Stage `evaluate`: scores every finished run that has not been scored yet.

python -m pipelines.evaluate <profile>
"""

import hashlib
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from pipelines.ablate import all_trials
from pipelines.cluster.session import ray_session
from pipelines.cluster.trials import map_tasks
from pipelines.stage import profile_stage
from pipelines.tracking.uploader import Mirror
from regproxy.config.profile_file import load_profile
from regproxy.data.shards import Shards
from regproxy.eval import metrics
from regproxy.eval.score import tally_shards
from regproxy.runs.fingerprint import source_digest
from regproxy.runs.saved_model import load_model
from regproxy.runs.shared_storage import Exchange
from regproxy.runs.stored_run import local_run
from regproxy.runs.trial import RECORD_FORMAT, Trial
from regproxy.storage.json_file import write_json
from regproxy.train.context import Context

_KEEP_EVERY_S = 30.0  # scores on the storage, should this machine be lost


def evaluate(profile_name: str) -> int:
    """Scores what is missing; returns the exit status, 1 if a score failed."""
    profile, exchange = load_profile(profile_name), Exchange.from_environment()
    trials = [trial for trial in all_trials(profile) if trial.finished_record() is not None]
    results = {trial: result_path(trial) for trial in trials}
    if exchange:
        exchange.bring_results(profile_name)
    missing = [trial for trial, path in results.items() if not is_scored(trial, path)]
    print(f"{len(trials)} finished runs in profile {profile_name}, {len(missing)} to score")
    errors: dict[str, str] = {}
    kept = time.monotonic()
    with Mirror(profile_name) as mirror:
        for trial, path in results.items():
            if trial not in missing:
                mirror.add_result(trial, json.loads(path.read_text()))
        if missing:
            with ray_session(), Progress() as bar:
                task = bar.add_task("scoring", total=len(missing))
                places = exchange.offer(missing) if exchange else missing
                local = dict(zip(places, missing, strict=True))
                for place, result, error in map_tasks(score, places, profile.resources):
                    trial = local[place]
                    bar.advance(task)
                    if error:
                        errors[trial.name] = error
                        continue
                    write_json(results[trial], result)
                    mirror.add_result(trial, result)
                    if exchange and time.monotonic() - kept > _KEEP_EVERY_S:
                        exchange.keep_results_so_far(profile_name)
                        kept = time.monotonic()
    if exchange:
        exchange.keep_results(profile_name)
    for name, error in errors.items():
        print(f"scoring {name} failed: {error}", file=sys.stderr)
    print(f"results are in results/{profile_name}/")
    return 1 if errors else 0


def result_path(trial: Trial) -> Path:
    return (
        Path("results") / trial.profile / trial.variant.data.name / trial.variant.name / f"{trial.seed}.json"
    )


def result_fingerprint(trial: Trial) -> str:
    """SHA-256 of the run, how it is scored and the source that scores."""
    parts = (trial.fingerprint, json.dumps(asdict(trial.variant.evaluation)), source_digest("eval"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def is_scored(trial: Trial, path: Path) -> bool:
    try:
        return json.loads(path.read_text())["fingerprint"] == result_fingerprint(trial)
    except (OSError, ValueError, KeyError):
        return False


def score(trial: Trial) -> dict[str, Any]:
    """Returns the result record of a finished run on its validation split."""
    started = time.monotonic()
    trial = local_run(trial)
    shards = Shards(Path(trial.data_dir), "val")
    model = load_model(trial.run_dir, Context.current().device)
    tally = tally_shards(model, shards, trial.variant, range(len(shards)))
    per_class = metrics.iou_per_class(tally.single_scale).tolist()
    return {
        "format": RECORD_FORMAT,
        "fingerprint": result_fingerprint(trial),
        "run_fingerprint": trial.fingerprint,
        "profile": trial.profile,
        "dataset": trial.variant.data.name,
        "variant": trial.variant.name,
        "seed": trial.seed,
        "split": "val",
        "num_images": len(shards),
        **means(tally.single_scale),
        "multi_scale": None if tally.multi_scale is None else means(tally.multi_scale),
        "region_entropy": tally.mean_entropy,
        "classes": list(trial.variant.data.classes),
        "iou_per_class": [None if value != value else value for value in per_class],
        "seconds": round(time.monotonic() - started, 3),
    }


def means(matrix: np.ndarray) -> dict[str, float]:
    """Returns the mean scores of a confusion matrix, in 0..1."""
    return {
        "miou": float(metrics.mean_iou(matrix)),
        "pixel_accuracy": float(metrics.pixel_accuracy(matrix)),
        "mean_accuracy": float(metrics.mean_accuracy(matrix)),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(evaluate, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
