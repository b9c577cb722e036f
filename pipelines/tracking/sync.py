"""Upload what MLflow does not have of a profile: runs, results and the report; running it again is safe.

python -m pipelines.tracking.sync <profile>
"""

from collections.abc import Sequence
from pathlib import Path

from pipelines.ablate import all_trials
from pipelines.stage import profile_stage
from pipelines.tracking import import_store, tracking_uri
from pipelines.tracking.state import TrialState
from regproxy.config.profile_file import load_profile
from regproxy.runs.record import read_record
from regproxy.runs.result import is_scored, result_path
from regproxy.storage.lock import profile_is_locked


def sync(profile_name: str) -> int:
    """Upload all finished runs, their results and the report; return 0 or raise StorageError.

    A run that a killed process left running ends, unless `ablate` is training the profile.
    """
    trials, num_finished = all_trials(load_profile(profile_name)), 0
    store = import_store()(profile_name, trials)
    for trial in trials:
        if trial.finished_record():
            num_finished += 1
            result = read_record(result_path(trial)) if is_scored(trial) else None
            store.update(TrialState(trial, "FINISHED", result=result))
        elif not profile_is_locked(profile_name):
            store.update(TrialState(trial))
    store.update_variants((), last=True)
    report = Path("reports", profile_name)
    if report.is_dir():
        store.add_report(report)
    print(f"{num_finished} finished runs of profile {profile_name} are in MLflow at {tracking_uri()}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(sync, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
