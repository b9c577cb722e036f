"""The overhead of running trials: trials that do nothing, through the `run_trials` of stage `ablate`.

python benchmarks/trials.py [--trials 200] [--limit 60]

The time includes starting Ray, all trials and stopping Ray. Exits with status 1 above the limit.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

from pipelines.cluster.display import Observer
from pipelines.cluster.environment import set_ray_environment
from regproxy.config.profile import Resources
from regproxy.config.profile_file import load_profile
from regproxy.runs.trial import Trial, Workspace
from regproxy.train.context import Context
from regproxy.train.progress import Progress, Training


def do_nothing(trial: Trial, context: Context) -> Training:
    yield Progress(0, 1)
    return {}


class Ends(Observer):
    def __init__(self) -> None:
        self.errors: list[str | None] = []

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        self.errors.append(error)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds")
    arguments = parser.parse_args()
    set_ray_environment()
    from pipelines.cluster.session import ray_session
    from pipelines.cluster.trials import run_trials

    variant = load_profile("smoke").variants[0]
    ends = Ends()
    with tempfile.TemporaryDirectory() as directory:
        trials = [
            Trial("benchmark", variant, seed, Workspace(directory, str(Path(directory) / str(seed))))
            for seed in range(arguments.trials)
        ]
        started = time.monotonic()
        with ray_session():
            joined = time.monotonic()
            run_trials(
                trials,
                Resources(),
                observer=ends,
                train=do_nothing,
            )
            ran = time.monotonic()
        ended = time.monotonic()
    if ends.errors != [None] * len(trials):
        raise SystemExit(f"{len(ends.errors)} of {len(trials)} trials ended, errors: {set(ends.errors)}")
    each = (ran - joined) / len(trials)
    print(f"{len(trials)} trials on {os.cpu_count()} CPUs: {ended - started:.1f} s in all, of them")
    print(f"starting Ray {joined - started:.1f} s, trials {ran - joined:.1f} s ({each:.3f} s each)")
    return int(ended - started > arguments.limit)


if __name__ == "__main__":
    raise SystemExit(main())
