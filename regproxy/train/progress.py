"""What a running training reports; imports no torch, so that a listener stays small."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """One report of a training after `step` of `steps` steps.

    The first report of a training comes before its first step and carries no measurements. `loss` is the mean
    over the steps since the previous report, `val_miou` is in 0..1, `notes` are messages for the user.
    `time` is the time of the report, in seconds since 1970; metrics.jsonl holds the same time. `started` is
    the start of the training's first attempt, only in the first report.
    """

    step: int
    steps: int
    loss: float | None = None
    learning_rate: float | None = None
    images_per_second: float | None = None
    seconds_left: float | None = None
    val_miou: float | None = None
    notes: tuple[str, ...] = ()
    time: float = field(default_factory=time.time, compare=False)
    started: float | None = field(default=None, compare=False)


Training = Generator[Progress, None, dict[str, Any]]


def run_to_end(training: Training, on_progress: Callable[[Progress], None] | None = None) -> dict[str, Any]:
    """Run a training to its end, pass each report to `on_progress`, and return the run record."""
    while True:
        try:
            progress = next(training)
        except StopIteration as end:
            return end.value
        if on_progress:
            on_progress(progress)
