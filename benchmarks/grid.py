"""What the grid itself costs: trials that do nothing, through the very `run_trials` of stage `ablate`.

python benchmarks/grid.py [--trials 200] [--limit 60]

Counted are starting Ray, all trials and stopping Ray. Ends with status 1 above the limit.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.cluster.session import ray_session
from pipelines.cluster.trials import run_trials
from regproxy.config.profile import Resources
from regproxy.config.profile_file import load_profile
from regproxy.runs.trial import Trial


def do_nothing(trial: Trial, *, git_commit: str | None, **hooks: Callable) -> None:
    hooks["begin"](0)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds")
    arguments = parser.parse_args()
    variant = load_profile("smoke").variants[0]
    ends: list[str | None] = []
    with tempfile.TemporaryDirectory() as directory:
        trials = [
            Trial("grid", variant, seed, directory, str(Path(directory) / str(seed)))
            for seed in range(arguments.trials)
        ]
        root = Path.cwd()
        os.chdir(directory)  # Ray's book-keeping goes below the working directory
        started = time.monotonic()
        with ray_session():
            joined = time.monotonic()
            run_trials(
                trials,
                Resources(),
                git_commit=None,
                watch=lambda news: None,
                on_end=lambda index, error: ends.append(error),
                train=do_nothing,
            )
            ran = time.monotonic()
        ended = time.monotonic()
        os.chdir(root)
    if ends != [None] * len(trials):
        raise SystemExit(f"{len(ends)} of {len(trials)} trials ended, errors: {set(ends)}")
    each = (ran - joined) / len(trials)
    print(f"{len(trials)} trials on {os.cpu_count()} CPUs: {ended - started:.1f} s in all, of them")
    print(f"starting Ray {joined - started:.1f} s, trials {ran - joined:.1f} s ({each:.3f} s each)")
    return int(ended - started > arguments.limit)


if __name__ == "__main__":
    raise SystemExit(main())
