"""What a search draws: the space, (seed, number), and Optuna's use of earlier trials."""

import math
import statistics
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import pytest

from pipelines.cluster.search_trials import draw
from regproxy.config.search import Dimension, Search

SPACE = {
    "learning_rate": Dimension(low=1.0e-6, high=1.0, log=True),
    "drop_path": Dimension(low=0.0, high=0.3),
    "warmup_steps": Dimension(low=0, high=3),
    "region": Dimension(choices=((2, 2), (4, 4), (8, 8))),
}
RANDOM = Search(variant="v", trials=40, space=SPACE)
OPTUNA = replace(RANDOM, sampler="optuna")
needs_optuna = pytest.mark.skipif(find_spec("optuna") is None, reason="optuna is not installed")
BOTH = pytest.mark.parametrize("search", [RANDOM, pytest.param(OPTUNA, marks=needs_optuna)])


def objective(values: dict) -> float:
    """An mIoU with its optimum at learning rate 1e-3 and region 4x4."""
    return math.exp(-((math.log10(values["learning_rate"]) + 3) ** 2)) - 0.3 * (values["region"] != [4, 4])


@BOTH
def test_draws_fill_the_space(search: Search) -> None:
    drawn = [draw(search, number) for number in range(200)]
    rates = [values["learning_rate"] for values in drawn]
    assert min(rates) < 1.0e-5 and max(rates) > 0.1 and all(1.0e-6 <= rate <= 1.0 for rate in rates)
    assert 0.2 < sum(rate < 1.0e-3 for rate in rates) / 200 < 0.8
    assert all(0 <= values["drop_path"] <= 0.3 for values in drawn)
    assert {values["warmup_steps"] for values in drawn} == {0, 1, 2, 3}
    assert {tuple(values["region"]) for values in drawn} == {(2, 2), (4, 4), (8, 8)}
    assert all(float(f"{rate:.4g}") == rate for rate in rates)


@BOTH
def test_a_draw_depends_on_seed_and_number(search: Search) -> None:
    assert draw(search, 3) == draw(search, 3)
    assert draw(search, 3) != draw(search, 4)
    assert draw(search, 3) != draw(replace(search, seed=1), 3)


@needs_optuna
def test_optuna_draws_around_good_trials() -> None:
    scored: list[tuple[dict, float]] = []
    for number in range(OPTUNA.trials):
        values = draw(OPTUNA, number, scored)
        assert values == draw(OPTUNA, number, scored), "an interrupted search draws the same values again"
        scored.append((values, objective(values)))
    at_random = [objective(draw(RANDOM, number)) for number in range(20, 40)]
    late = [score for _, score in scored[20:]]
    assert statistics.mean(late) > statistics.mean(at_random) + 0.2
    best, _ = max(scored, key=lambda pair: pair[1])
    assert 3.0e-4 < best["learning_rate"] < 3.0e-3 and best["region"] == [4, 4]


def test_a_missing_optuna_is_one_sentence() -> None:
    code = (
        "import sys; sys.modules['optuna'] = None\n"
        "from pipelines.cluster.search_trials import check_sampler\n"
        "from regproxy.config.search import Dimension, Search\n"
        "from regproxy.errors import ConfigError\n"
        "space = {'tap': Dimension(choices=(0, 1))}\n"
        "check_sampler(Search(variant='v', trials=1, space=space))\n"
        "try: check_sampler(Search(variant='v', trials=1, space=space, sampler='optuna'))\n"
        "except ConfigError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("search.sampler optuna needs the package optuna"), done.stderr
