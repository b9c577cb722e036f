"""What a running training says of itself; without torch, so that whoever only listens stays small."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """State of a running training: loss is the mean since the last report, speed in images a second."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    val_miou: float | None = None
