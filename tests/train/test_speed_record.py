"""The speed in a run record, which `regproxy plan` reads."""

from collections.abc import Callable

import pytest

from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end


def test_speed_of_a_resumed_run_counts_only_the_steps_made_since(make_trial: Callable[..., Trial]) -> None:
    trial = make_trial(validate_every=None)
    training = train(trial, Context())
    while next(training).step < 6:
        pass
    training.close()
    record = run_to_end(train(trial, Context()))
    assert (record["resumed_at_step"], record["steps"]) == (6, 8)
    expected = 2 * trial.variant.recipe.batch_size / record["seconds"]
    assert record["images_per_second"] == pytest.approx(expected, rel=1e-3)
