"""Upload the finished runs and results of a profile that MLflow does not have; running it again is safe.

python -m pipelines.tracking.sync <profile>
"""

from collections.abc import Sequence

from pipelines.ablate import all_trials
from pipelines.stage import profile_stage
from pipelines.tracking import import_store, tracking_uri
from regproxy.config.profile_file import load_profile
from regproxy.runs.record import read_record
from regproxy.runs.result import result_path


def sync(profile_name: str) -> int:
    """Upload all finished runs and their results; return 0, or raise StorageError if MLflow fails."""
    store = import_store()(profile_name)
    trials = [trial for trial in all_trials(load_profile(profile_name)) if trial.finished_record()]
    for trial in trials:
        store.upload(trial, read_record(result_path(trial)))
    print(f"{len(trials)} finished runs of profile {profile_name} are in MLflow at {tracking_uri()}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(sync, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
