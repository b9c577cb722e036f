"""Stage `evaluate`: score every finished run that has not been scored yet.

python -m pipelines.evaluate <profile>
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from pipelines.ablate import all_trials
from pipelines.cluster.environment import set_ray_environment
from pipelines.stage import profile_stage
from pipelines.tracking.uploader import Uploader
from regproxy.cli.progress_bar import progress_bar
from regproxy.config.profile import Resources
from regproxy.config.profile_file import load_profile
from regproxy.model.device import default_device
from regproxy.runs.classes_present import left_out_classes
from regproxy.runs.result import is_scored, result_path, score_run
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.trial import Trial
from regproxy.storage.json_file import write_json

_UPLOAD_INTERVAL_S = 30.0  # between uploads of results, in case this machine is lost


def evaluate(profile_name: str) -> int:
    """Score the runs without a valid result; return the exit status, 1 if a score failed."""
    profile, storage = load_profile(profile_name), SharedStorage.from_environment()
    every_trial = all_trials(profile)
    trials = [trial for trial in every_trial if trial.finished_record() is not None]
    if storage:
        storage.download_results(profile_name)
    missing = [trial for trial in trials if not is_scored(trial)]
    print(f"{len(trials)} finished runs in profile {profile_name}, {len(missing)} to score")
    errors: dict[str, str] = {}
    with Uploader(profile_name, every_trial) as uploader:
        for trial in trials:
            if trial not in missing:
                uploader.add_result(trial, json.loads(result_path(trial).read_text()))
        if missing:
            errors = score_missing(missing, profile.resources, uploader, storage)
    for name, error in errors.items():
        print(f"scoring {name} failed: {error}", file=sys.stderr)
    if storage:
        storage.upload_results(profile_name)
    for data in profile.datasets:
        scored = [trial for trial in trials if trial.variant.data == data and is_scored(trial)]
        results = [json.loads(result_path(trial).read_text()) for trial in scored]
        if left_out := left_out_classes(results):
            print(f"mIoU of {data.name}: {left_out}")
    print(f"results are in results/{profile_name}/")
    return 1 if errors else 0


def score_missing(
    missing: list[Trial], resources: Resources, uploader: Uploader, storage: SharedStorage | None
) -> dict[str, str]:
    """Score runs on the cluster under a progress bar; return the errors by trial name."""
    set_ray_environment()
    from pipelines.cluster.session import ray_session
    from pipelines.cluster.trials import map_tasks

    errors: dict[str, str] = {}
    uploaded = time.monotonic()
    with ray_session(), progress_bar("scoring", "runs") as show:
        remote = storage.upload_inputs(missing) if storage else missing
        local = dict(zip(remote, missing, strict=True))
        for done, (item, result, error) in enumerate(map_tasks(score, remote, resources), start=1):
            trial = local[item]
            show(done, len(missing))
            if error:
                errors[trial.name] = error
                continue
            write_json(result_path(trial), result)
            uploader.add_result(trial, result)
            if storage and time.monotonic() - uploaded > _UPLOAD_INTERVAL_S:
                storage.try_upload_results(trial.profile)
                uploaded = time.monotonic()
    return errors


def score(trial: Trial) -> dict[str, Any]:
    """Score a finished run on this process's device and return the result record."""
    return score_run(trial, default_device())


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(evaluate, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
