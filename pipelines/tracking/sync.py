"""Delivers to MLflow what its mirror has not: runs and results of a profile, from their records.

python -m pipelines.tracking.sync <profile>
"""

import json
from collections.abc import Sequence

from pipelines.ablate import all_trials
from pipelines.evaluate import result_path
from pipelines.stage import profile_stage
from pipelines.tracking.store import Store
from pipelines.tracking.uploader import tracking_uri
from regproxy.config.profile_file import load_profile


def mirror(profile_name: str) -> int:
    """Mirrors all finished runs and their results; what is there already stays as it is."""
    trials = [
        trial for trial in all_trials(load_profile(profile_name)) if trial.finished_record() is not None
    ]
    try:
        store = Store(profile_name)
        for trial in trials:
            store.mirror_run(trial)
            if result_path(trial).exists():
                store.mirror_result(trial, json.loads(result_path(trial).read_text()))
    except Exception as error:  # whatever MLflow raises
        raise ValueError(f"MLflow at {tracking_uri()} failed, run again when it answers: {error}") from None
    print(f"{len(trials)} finished runs of profile {profile_name} are on MLflow at {tracking_uri()}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(mirror, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
