"""Laws of the sample order: arithmetic, equal for every world size and every point of resumption."""

import numpy as np
import pytest

from regproxy.data.order import (
    augmentation_generator,
    epoch_permutation,
    global_batch,
    positions,
    sample_at,
    torch_seed,
)


@pytest.mark.parametrize("num_samples", [1, 7, 100])
def test_an_epoch_is_a_permutation_of_its_own(num_samples: int) -> None:
    orders = [epoch_permutation(3, epoch, num_samples) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(num_samples))
    if num_samples == 100:
        assert not np.array_equal(orders[0], orders[1])
        assert not np.array_equal(orders[0], epoch_permutation(4, 0, num_samples))


def test_order_is_pinned() -> None:
    """The very numbers: a change here changes every training."""
    assert epoch_permutation(0, 0, 8).tolist() == [0, 3, 7, 5, 1, 2, 6, 4]


@pytest.mark.parametrize(("num_samples", "batch_size"), [(10, 4), (3, 8), (16, 16)])
def test_every_sample_once_an_epoch(num_samples: int, batch_size: int) -> None:
    steps = 3 * num_samples
    stream = [s for step in range(steps) for s in global_batch(1, step, num_samples, batch_size)]
    for start in range(0, len(stream) - num_samples + 1, num_samples):
        assert sorted(stream[start : start + num_samples]) == list(range(num_samples))


@pytest.mark.parametrize("grad_accum_steps", [1, 2])
@pytest.mark.parametrize("world_size", [1, 2, 4, 8])
def test_workers_and_micro_batches_share_out_the_same_global_batch(
    world_size: int, grad_accum_steps: int
) -> None:
    parts = [
        positions(batch_size=16, grad_accum_steps=grad_accum_steps, world_size=world_size, rank=rank)
        for rank in range(world_size)
    ]
    by_micro = [[place for rank in parts for place in rank[micro]] for micro in range(grad_accum_steps)]
    assert [place for micro in by_micro for place in micro] == list(range(16))


def test_indivisible_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="batch of 16 does not divide over 3 workers"):
        positions(batch_size=16, grad_accum_steps=1, world_size=3, rank=0)


def test_no_samples_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        global_batch(0, 0, 0, 4)


def test_a_place_needs_no_history() -> None:
    batch = global_batch(5, 1234, 97, 16)
    assert [sample_at(5, 1234, p, num_samples=97, batch_size=16) for p in reversed(range(16))] == batch[::-1]


def test_draws_differ_between_places_and_repeat_in_place() -> None:
    def draw(*place: int) -> float:
        return augmentation_generator(*place).random()

    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert len({draw(*place) for place in places}) == 4
    assert [draw(*place) for place in places] == [draw(*place) for place in places]
    assert len({torch_seed(*place) for place in places}) == 4
