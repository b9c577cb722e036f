"""Early stopping of a search's trials at their validations: Tune's scheduler."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from pipelines.cluster.trial_queue import TrialQueue

_REDUCTION_FACTOR = 2  # the better half of the trials passes each rung


@dataclass(frozen=True)
class _Key:
    """What ASHA knows of a trial; Tune's own trial is another one after each restart."""

    trial_id: str


class EarlyStopping(FIFOScheduler):
    """Stop trials with a low validation mIoU by asynchronous successive halving.

    ASHA (Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020) decides at rungs: the
    first validation, and twice, four times, ... as many steps. A trial stops if its mIoU is below the median
    of all trials that have reached this rung so far. It stops itself at its next report, as it does after
    Ctrl-C, because Tune cannot stop the workers of a trial with several of them.

    Args:
        numbers: the number of each trial of the run, in order.
        first, last: steps of the first validation and of the whole training.
    """

    def __init__(self, numbers: Sequence[int], *, first: int, last: int) -> None:
        super().__init__()
        self._numbers, self._known = numbers, set[str]()
        self._asha = ASHAScheduler(
            time_attr="step",
            metric="val_miou",
            mode="max",
            grace_period=first,
            max_t=last,
            reduction_factor=_REDUCTION_FACTOR,
            stop_last_trials=False,
        )

    def connect(self, queue: TrialQueue, coordinator: Any) -> None:
        """Set the queue and the coordinator of the trials that may be stopped."""
        self._queue, self._coordinator = queue, coordinator

    def replay(self, number: int, validations: Iterable[tuple[int, float]]) -> None:
        """Take the validations of an earlier run: steps and mIoU."""
        for step, val_miou in validations:
            self.stops(number, step, val_miou)

    def stops(self, number: int, step: int, val_miou: float) -> bool:
        """Take a validation of trial `number`; return whether the trial shall stop."""
        key = _Key(str(number))
        if key.trial_id not in self._known:
            self._known.add(key.trial_id)
            self._asha.on_trial_add(None, key)
        decision = self._asha.on_trial_result(None, key, {"step": step, "val_miou": val_miou})
        return decision == TrialScheduler.STOP

    def on_trial_result(self, controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Stop a trial through the coordinator if its validation is too low; Tune itself stops none."""
        progress, index = result.get("progress"), trial.config["index"]
        if progress and progress.val_miou is not None:
            stops = self.stops(self._numbers[index], progress.step, progress.val_miou)
            if stops and progress.step < progress.steps:
                self._queue.stop_early(index)
                ray.get(self._coordinator.stop.remote(index))
        return TrialScheduler.CONTINUE

    def __getstate__(self) -> dict:
        return {}  # Tune pickles the scheduler with the experiment
