"""Stage `ablate`: train every variant with every seed that has not been trained yet.

python -m pipelines.ablate <profile> [--accept-source]
"""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from pipelines.cluster.display import TrialsDisplay
from pipelines.cluster.environment import set_ray_environment
from pipelines.stage import profile_stage
from pipelines.tracking.uploader import Uploader
from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile
from regproxy.errors import ConfigError, UserError
from regproxy.model.build import build
from regproxy.model.pretrained import ensure_weights
from regproxy.plan.simulation import longest_first
from regproxy.runs.accept_source import accept_source as accept_runs
from regproxy.runs.record import git_commit
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.trial import Trial, Workspace
from regproxy.storage.lock import profile_lock
from regproxy.train.progress import Progress
from regproxy.train.remote import train_anywhere


def all_trials(profile: Profile) -> list[Trial]:
    """Return the profile's trials with absolute paths, in the order of the file."""
    data, runs = Path("data/prepared").absolute(), Path("runs").absolute()
    return [
        Trial(
            profile=profile.name,
            variant=variant,
            seed=seed,
            workspace=Workspace(
                data_dir=str(data / profile.name / variant.data.name),
                run_dir=str(runs / profile.name / variant.data.name / variant.name / str(seed)),
                pretrained_dir=str(Path(profile.pretrained_dir).absolute()),
            ),
        )
        for variant, seed in profile.trials()
    ]


def ablate(profile_name: str, *, accept_source: bool = False) -> int:
    """Train what is missing; return the exit status: 1 if a trial failed (the others still finish).

    With `accept_source`, keep runs that other source code trained: the user vouches for the edit.
    """
    profile = load_profile(profile_name)
    with profile_lock(profile_name):
        return train_profile(profile, accept_source=accept_source)


def train_profile(profile: Profile, *, accept_source: bool) -> int:
    """Train the profile's missing trials; the caller holds the lock on its runs."""
    trials = all_trials(profile)
    storage = SharedStorage.from_environment()
    if storage:
        storage.download_finished(trials)
        storage.download_results(profile.name)
    locate = storage.locate if storage else None
    if accept_source:
        kept = accept_runs(trials, locate)
        counts = f"{kept.runs} runs, {kept.results} results and {kept.checkpoints} checkpoints"
        print(f"kept {counts} that other source code made")
    elif any(found := accept_runs(trials, locate, dry_run=True)):
        print(
            f"{found.runs} finished runs and {found.checkpoints} checkpoints are from other source code "
            f"and are replaced; to keep them, stop now and run "
            f"`python -m pipelines.ablate {profile.name} --accept-source`"
        )
    missing = longest_first([trial for trial in trials if trial.finished_record() is None])
    finished = len(trials) - len(missing)
    print(f"{len(trials)} trials in profile {profile.name}: {finished} finished, {len(missing)} to train")
    check_networks(missing)
    fetch_weights(missing)
    errors: dict[str, str] = {}
    with Uploader(profile.name, trials, git_commit()) as mlflow:
        for trial in trials:
            if trial in missing:
                mlflow.add_missing(trial)
            else:
                mlflow.add_run(trial)
        if missing:
            errors = train_missing(missing, profile, finished, mlflow, storage)
    for name, error in errors.items():
        print(f"trial {name} failed: {error}", file=sys.stderr)
    if errors:
        print(
            f"{len(errors)} of {len(trials)} trials failed (tracebacks: error.log in each run folder); "
            f"the other runs are kept, run again to retry the failed ones",
            file=sys.stderr,
        )
        return 1
    print(f"runs are in runs/{profile.name}/")
    return 0


def check_networks(trials: list[Trial]) -> None:
    """Build every network once, without weights; raise ConfigError naming those that fail."""
    problems = []
    for variant in {trial.variant: None for trial in trials}:
        try:
            with torch.device("meta"):
                build(variant)
        except UserError as error:
            problems.append(f"variant {variant.name} on {variant.data.name}: {error}")
    if problems:
        raise ConfigError("nothing was trained; " + "\n".join(problems))


def fetch_weights(trials: list[Trial]) -> None:
    """Fetch the pre-trained weights that trials start from; raise ConfigError naming all missing ones."""
    models = {
        trial.variant.model.weights: (trial.variant.model, Path(trial.workspace.pretrained_dir))
        for trial in trials
    }
    problems = []
    for model, directory in models.values():
        try:
            ensure_weights(model, directory)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("nothing was trained; " + "\n".join(problems))


class Display(TrialsDisplay):
    """The live table; it also downloads each finished run and shows every trial in MLflow."""

    def __init__(
        self, trials: list[Trial], finished: int, mlflow: Uploader, storage: SharedStorage | None
    ) -> None:
        super().__init__(trials, already_finished=finished)
        self.errors: dict[str, str] = {}
        self._mlflow, self._storage = mlflow, storage
        self._downloads = ThreadPoolExecutor(1)  # trainings wait while the driver is busy

    def __exit__(self, *details: object) -> None:
        self._downloads.shutdown()
        super().__exit__(*details)

    def running(self, index: int, hosts: list[str], progress: Progress | None) -> None:
        """Show a report of a running trial here and in MLflow."""
        super().running(index, hosts, progress)
        self._mlflow.progress(self._trials[index], hosts, progress)

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        """Download the run if it lies on a storage, in the background, and print how it ended."""
        if self._storage:
            self._downloads.submit(self._download, index, error, traceback)
        else:
            self._finish(index, error, traceback)

    def _download(self, index: int, error: str | None, traceback: str | None) -> None:
        self._finish(index, self._storage.download_ended(self._trials[index], error), traceback)

    def _finish(self, index: int, error: str | None, traceback: str | None) -> None:
        trial = self._trials[index]
        super().ended(index, error, traceback)
        if error:
            self.errors[trial.name] = error
            if traceback:
                self.message(None, traceback)
        self._mlflow.ended(trial, error)


def train_missing(
    missing: list[Trial], profile: Profile, finished: int, mlflow: Uploader, storage: SharedStorage | None
) -> dict[str, str]:
    """Train trials on the cluster under a live table; return the errors by trial name."""
    set_ray_environment()
    from pipelines.cluster.session import ray_session
    from pipelines.cluster.trials import run_trials

    on_cluster = storage.upload_inputs(missing) if storage else missing
    with ray_session(), Display(missing, finished, mlflow, storage) as display:
        train = partial(train_anywhere, git_commit=git_commit())
        run_trials(on_cluster, profile.resources, observer=display, train=train)
    for trial in missing:  # only a record counts, even if Ray reported no error
        if trial.finished_record() is None:
            display.errors.setdefault(trial.name, "it ended without a record")
    return display.errors


def main(arguments: Sequence[str] | None = None) -> int:
    flags = {"accept_source": "keep runs that other source code trained; you vouch for the edit"}
    return profile_stage(ablate, __doc__, arguments, flags=flags)


if __name__ == "__main__":
    raise SystemExit(main())
