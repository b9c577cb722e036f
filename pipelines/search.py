"""Stage `search`: train the trials of the profile's search that have not ended yet, and choose the best.

python -m pipelines.search <profile> [--retry-failed]
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipelines.ablate import check_networks, fetch_weights, git_commit
from pipelines.cluster.display import TrialsDisplay
from pipelines.cluster.environment import set_ray_environment
from pipelines.stage import profile_stage
from regproxy.config.profile import Profile, Resources
from regproxy.config.profile_file import load_profile
from regproxy.runs.search_record import RESULT, best_trial, profile_lines, write_result
from regproxy.runs.search_run import SearchRun
from regproxy.runs.shared_storage import SharedStorage
from regproxy.storage.lock import profile_lock
from regproxy.train.progress import Progress
from regproxy.train.remote import train_anywhere


def search(profile_name: str, *, retry_failed: bool = False) -> int:
    """Search as the profile says and write search/<profile>/result.json; return the exit status.

    The status is 1 if a data set has no finished trial; then there is no result. The result of a profile
    without a search is empty. With `retry_failed`, trials that failed are trained again.
    """
    profile = load_profile(profile_name)
    result = Path("search", profile.name, RESULT)
    if profile.search is None:
        write_result(result, profile.name)
        print(f"profile {profile.name} has no search")
        return 0
    with profile_lock(profile.name, Path("search")):
        return search_profile(profile, result, retry_failed=retry_failed)


def search_profile(profile: Profile, result: Path, *, retry_failed: bool) -> int:
    """Search on each data set in turn and write the result; the caller holds the lock on the search."""
    shared = SharedStorage.from_environment()
    starts = profile.search.starts(profile.variants)
    runs = [SearchRun(profile, start, shared) for start in starts]
    for run in runs:
        networks = {corner.model: corner for corner in profile.search.corners(run.start)}
        check_networks([replace(run.trials[0], variant=corner) for corner in networks.values()])
        fetch_weights(run.trials[:1])
    result.unlink(missing_ok=True)
    for run in runs:
        train_trials(run, run.pending(retry_failed=retry_failed), profile.resources)
    if status := report_ends(runs):
        return status
    trials = {run.start.data.name: run.ended for run in runs}
    write_result(result, profile.name, profile.search, starts, trials)
    print(f"all trials of the search are in {result}")
    return 0


def train_trials(run: SearchRun, pending: Sequence[int], resources: Resources) -> None:
    """Train trials of a search on one data set, as many at a time as the cluster holds."""
    settings = run.settings
    num_ended = settings.trials - len(pending)
    print(
        f"search on {run.start.data.name}: {settings.trials} trials of variant {run.start.name}, "
        f"{num_ended} ended, {len(pending)} to train"
    )
    if not pending:
        return
    set_ray_environment()
    from pipelines.cluster.search_trials import EarlyStopping, check_sampler, draw
    from pipelines.cluster.session import ray_session
    from pipelines.cluster.trials import run_trials

    check_sampler(settings)
    trials = run.located(pending)
    with ray_session(), SearchDisplay(run, pending) as display:
        run_trials(
            trials,
            resources,
            observer=display,
            train=partial(train_anywhere, git_commit=git_commit()),
            values=lambda index: run.begin(pending[index], draw),
            early_stopping=EarlyStopping.of(run, pending) if settings.early_stopping else None,
        )


class SearchDisplay(TrialsDisplay):
    """The live table of a search; it also records validations and ends."""

    def __init__(self, run: SearchRun, pending: Sequence[int]) -> None:
        super().__init__(
            [run.trials[number] for number in pending],
            already_finished=run.settings.trials - len(pending),
        )
        self._run, self._pending = run, pending
        self._steps: dict[int, tuple[int, int]] = {}  # by index: trained steps, steps of the training

    def running(self, index: int, hosts: list[str], progress: Progress | None) -> None:
        """Show a report of a running trial and record its validation."""
        super().running(index, hosts, progress)
        if progress:
            self._steps[index] = (progress.step, progress.steps)
            if progress.val_miou is not None:
                self._run.validated(self._pending[index], progress.step, progress.val_miou)

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        """Record how a trial ended and print it."""
        step, steps = self._steps.get(index, (0, 0))
        self._run.end(self._pending[index], step=step, steps=steps, error=error)
        super().ended(index, error, traceback)
        if traceback:
            self.message(None, traceback)

    def outcome(self, index: int) -> str:
        """Return the values, the number of steps and the validation mIoU of a trial that has ended."""
        record = self._run.records[self._pending[index]]
        values = ", ".join(f"{key} {value}" for key, value in record.values.items())
        score = "" if record.val_miou is None else f", validation mIoU {100 * record.val_miou:.2f} %"
        return f"{record.state} after {record.steps} steps{score}: {values}"


def report_ends(runs: Sequence[SearchRun]) -> int:
    """Print failures and the best trial of each data set; return the exit status."""
    failed = [(run, record) for run in runs for record in run.ended if record.state == "failed"]
    for run, record in failed:
        print(f"trial {run.trials[record.number].name} failed: {record.error}", file=sys.stderr)
    if failed:
        print(
            f"failed trials of the search: {len(failed)}. "
            f"`python -m pipelines.search {runs[0].trials[0].profile} --retry-failed` trains them again.",
            file=sys.stderr,
        )
    status = 0
    for run in runs:
        dataset, best = run.start.data.name, best_trial(run.ended)
        if best is None:
            print(f"no trial of the search on {dataset} has finished, so there is no result", file=sys.stderr)
            status = 1
            continue
        print(
            f"best of {len(run.ended)} trials on {dataset}: trial {best.number}, "
            f"validation mIoU {100 * best.val_miou:.2f} %. It was chosen on this split, so the score is "
            f"optimistic. To train it with every seed, put into the profile:\n\n"
            f"{profile_lines(run.start, best.values)}\n"
        )
    return status


def main(arguments: Sequence[str] | None = None) -> int:
    flags = {"retry_failed": "train the trials again that failed"}
    return profile_stage(search, __doc__, arguments, flags=flags)


if __name__ == "__main__":
    raise SystemExit(main())
