"""The values that a search draws for each trial: independently, or with Optuna around good earlier trials."""

import logging
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from ray import tune
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain

from regproxy.config.search import Dimension, Search
from regproxy.errors import ConfigError

_DIGITS = 4  # significant digits of a drawn number, so that a profile can hold it


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
