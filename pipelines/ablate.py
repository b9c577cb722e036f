"""Stage `ablate`: trains every variant with every seed that has not been trained yet.

python -m pipelines.ablate <profile>
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from pipelines.cluster.display import GridDisplay
from pipelines.cluster.session import ray_session
from pipelines.cluster.trials import run_trials
from pipelines.stage import profile_stage
from pipelines.tracking.uploader import Mirror
from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile
from regproxy.errors import ConfigError
from regproxy.model.build import build
from regproxy.model.pretrained import ensure_weights
from regproxy.plan.simulation import longest_first
from regproxy.runs.shared_storage import Exchange
from regproxy.runs.trial import Trial
from regproxy.storage.lock import alone


def all_trials(profile: Profile) -> list[Trial]:
    """Returns the profile's trials with their absolute paths, in the order of the file."""
    data, runs = Path("data/prepared").absolute(), Path("runs").absolute()
    return [
        Trial(
            profile=profile.name,
            variant=variant,
            seed=seed,
            data_dir=str(data / profile.name / variant.data.name),
            run_dir=str(runs / profile.name / variant.data.name / variant.name / str(seed)),
            pretrained_dir=str(Path(profile.pretrained_dir).absolute()),
        )
        for variant, seed in profile.trials()
    ]


def ablate(profile_name: str) -> int:
    """Trains what is missing; returns the exit status, 1 if a trial failed (the others still finish)."""
    profile = load_profile(profile_name)
    with alone(profile_name):
        return ablate_alone(profile)


def ablate_alone(profile: Profile) -> int:
    """Does so, while no other process does."""
    trials = all_trials(profile)
    exchange = Exchange.from_environment()
    if exchange:
        exchange.bring_finished(trials)
    missing = longest_first([trial for trial in trials if trial.finished_record() is None])
    finished = len(trials) - len(missing)
    print(f"{len(trials)} trials in profile {profile.name}: {finished} finished, {len(missing)} to train")
    check_networks(missing)
    fetch_weights(missing)
    errors: dict[str, str] = {}
    with Mirror(profile.name) as mirror:
        for trial in trials:
            if trial not in missing:
                mirror.add_run(trial)
        if missing:
            errors = train_missing(missing, profile, finished, mirror, exchange)
    for name, error in errors.items():
        print(f"trial {name} failed: {error}", file=sys.stderr)
    if errors:
        print(
            f"{len(errors)} of {len(trials)} trials failed (tracebacks: error.log in each run's folder); "
            f"the others are kept, run again to go on",
            file=sys.stderr,
        )
        return 1
    print(f"runs are in runs/{profile.name}/")
    return 0


def check_networks(trials: list[Trial]) -> None:
    """Builds every network once, without weights; raises ConfigError naming the variants that cannot be."""
    problems = []
    for variant in {trial.variant: None for trial in trials}:
        try:
            with torch.device("meta"):
                build(variant)
        except ValueError as error:
            problems.append(f"variant {variant.name} on {variant.data.name}: {error}")
    if problems:
        raise ConfigError("nothing was trained; " + "\n".join(problems))


def fetch_weights(trials: list[Trial]) -> None:
    """Fetches the pre-trained weights that trials start from; raises ConfigError naming all missing."""
    models = {
        trial.variant.model.weights: (trial.variant.model, Path(trial.pretrained_dir)) for trial in trials
    }
    problems = []
    for model, directory in models.values():
        try:
            ensure_weights(model, directory)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ConfigError("nothing was trained; " + "\n".join(problems))


def train_missing(
    missing: list[Trial], profile: Profile, finished: int, mirror: Mirror, exchange: Exchange | None
) -> dict[str, str]:
    """Trains trials on the cluster under a live table; returns the errors by trial name."""
    errors: dict[str, str] = {}
    places = exchange.offer(missing) if exchange else missing
    with ray_session(), GridDisplay(missing, already_finished=finished) as display:

        def on_end(index: int, error: str | None) -> None:
            if exchange:
                error = exchange.bring_ended(missing[index], error)
            display.end(index, error)
            if error:
                errors[missing[index].name] = error
            else:
                mirror.add_run(missing[index])

        commit = git_commit()
        run_trials(places, profile.resources, git_commit=commit, watch=display.update, on_end=on_end)
    for trial in missing:  # whatever Ray may have missed, only a record counts
        if trial.finished_record() is None:
            errors.setdefault(trial.name, "it ended without a record")
    return errors


def git_commit() -> str | None:
    """Returns the commit of the working tree, with -dirty if it has changes, None outside of git."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(ablate, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
