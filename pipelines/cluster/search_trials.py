"""A search's trials: the values that are drawn for each, and early stopping at their validations.

Values are drawn independently, or with Optuna around good earlier trials.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain

from pipelines.cluster.trial_queue import TrialQueue
from regproxy.config.search import Dimension, Search
from regproxy.errors import ConfigError
from regproxy.runs.search_run import SearchRun

_DIGITS = 4  # significant digits of a drawn number, so that a profile can hold it
_REDUCTION_FACTOR = 2  # the better half of the trials passes each rung


def check_sampler(search: Search) -> None:
    """Raise ConfigError if the sampler's package is missing."""
    if search.sampler == "optuna":
        try:
            import optuna  # noqa: F401
        except ImportError:
            raise ConfigError(
                "search.sampler optuna needs the package optuna, which is not installed: run "
                "`pip install optuna`, or choose sampler random"
            ) from None


def draw(
    search: Search, number: int, scored: Iterable[tuple[Mapping[str, Any], float]] = ()
) -> dict[str, Any]:
    """Return the value of each searched setting for trial `number`, as JSON values.

    With `random` they depend on nothing but the search's seed and the number. With `optuna` they also depend
    on the scored trials, and are drawn evenly until ten trials are scored. So a search that is interrupted
    needs no other state to continue.

    Args:
        search: gives sampler, seed and the space.
        number: of the trial.
        scored: values and mIoU (0..1) of the trials that have ended.
    """
    domains = {key: _domain(dimension) for key, dimension in search.space.items()}
    generator = np.random.default_rng((search.seed, number))
    if search.sampler == "random":
        drawn = {key: domain.sample(random_state=generator) for key, domain in domains.items()}
    else:
        logging.getLogger("optuna").setLevel(logging.WARNING)
        searcher = OptunaSearch(
            space=OptunaSearch.convert_search_space(domains),
            metric="val_miou",
            mode="max",
            seed=int(generator.integers(2**31)),
        )
        for values, miou in scored:
            searcher.add_evaluated_point(
                {key: _encode(dimension, values[key]) for key, dimension in search.space.items()}, miou
            )
        drawn = searcher.suggest(str(number))
    return {key: _decode(dimension, drawn[key]) for key, dimension in search.space.items()}


def _domain(dimension: Dimension) -> Domain:
    """Return Tune's domain of a dimension; that of choices holds their indices."""
    if dimension.choices:
        return tune.choice(list(range(len(dimension.choices))))
    if dimension.is_integer:
        make = tune.lograndint if dimension.log else tune.randint
        return make(dimension.low, dimension.high + 1)
    return (tune.loguniform if dimension.log else tune.uniform)(dimension.low, dimension.high)


def _decode(dimension: Dimension, drawn: Any) -> Any:
    if dimension.choices:
        return _plain(dimension.choices[int(drawn)])
    if dimension.is_integer:
        return int(drawn)
    return min(max(float(f"{drawn:.{_DIGITS}g}"), dimension.low), dimension.high)


def _encode(dimension: Dimension, value: Any) -> Any:
    return [_plain(choice) for choice in dimension.choices].index(value) if dimension.choices else value


def _plain(choice: Any) -> Any:
    return list(choice) if isinstance(choice, tuple) else choice


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

    @classmethod
    def of(cls, run: SearchRun, pending: Sequence[int]) -> "EarlyStopping":
        """Return the early stopping of a search that knows all validations so far.

        Those of a trial that was interrupted count too: when it resumes, it does not repeat them.
        """
        last = max(corner.recipe.steps for corner in run.settings.corners(run.start))
        early_stopping = cls(pending, first=run.start.recipe.validate_every, last=last)
        for record in run.records.values():
            early_stopping.replay(record.number, record.validations)
        return early_stopping

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
