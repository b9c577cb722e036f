"""Laws of the sample order: the same for every world size, and independent of where training resumes."""

import numpy as np
import pytest

from regproxy.data.order import (
    augmentation_generator,
    epoch_permutation,
    rank_positions,
    sample_at,
    torch_seed,
)
from regproxy.errors import ConfigError


def global_batch(seed: int, step: int, num_samples: int, batch_size: int) -> list[int]:
    size = {"num_samples": num_samples, "batch_size": batch_size}
    return [sample_at(seed, step, position, **size) for position in range(batch_size)]


@pytest.mark.parametrize("num_samples", [1, 7, 100])
def test_an_epoch_is_a_permutation_of_its_own(num_samples: int) -> None:
    orders = [epoch_permutation(3, epoch, num_samples) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(num_samples))
    if num_samples == 100:
        assert not np.array_equal(orders[0], orders[1])
        assert not np.array_equal(orders[0], epoch_permutation(4, 0, num_samples))


def test_order_is_pinned() -> None:
    """Compare with fixed numbers: a change here changes every training."""
    assert epoch_permutation(0, 0, 8).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]


@pytest.mark.parametrize(("num_samples", "batch_size"), [(10, 4), (3, 8), (16, 16)])
def test_every_sample_once_an_epoch(num_samples: int, batch_size: int) -> None:
    steps = 3 * num_samples
    stream = [s for step in range(steps) for s in global_batch(1, step, num_samples, batch_size)]
    for start in range(0, len(stream) - num_samples + 1, num_samples):
        assert sorted(stream[start : start + num_samples]) == list(range(num_samples))


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_ranks_and_micro_batches_divide_the_same_global_batch(world_size: int, grad_accum_steps: int) -> None:
    ranks = [
        rank_positions(batch_size=16, grad_accum_steps=grad_accum_steps, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    assert [
        position for micro in range(grad_accum_steps) for rank in ranks for position in rank[micro]
    ] == list(range(16))


def test_indivisible_batch_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch_size 16 is invalid: expected a multiple of 3 workers"):
        rank_positions(batch_size=16, grad_accum_steps=1, world_size=3, rank=0)


def test_a_position_needs_no_history() -> None:
    batch = global_batch(5, 1234, 97, 16)
    assert [sample_at(5, 1234, p, num_samples=97, batch_size=16) for p in reversed(range(16))] == batch[::-1]


def test_draws_differ_between_positions_and_repeat_at_each() -> None:
    def draw(*key: int) -> float:
        return augmentation_generator(*key).random()

    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]  # (seed, step, position)
    assert len({draw(*key) for key in keys}) == 4
    assert [draw(*key) for key in keys] == [draw(*key) for key in keys]
    assert len({torch_seed(*key) for key in keys}) == 4
