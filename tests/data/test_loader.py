"""Batches: equal for every world size and after resuming, independent of torch's global generator."""

import dataclasses
from pathlib import Path

import pytest
import torch

from regproxy.config.recipe import Recipe
from regproxy.data.loader import Batch, decode, micro_batches, normalise
from regproxy.data.order import sample_at
from regproxy.data.shards import Shards
from regproxy.errors import DataError

RECIPE = Recipe(steps=6, crop=(64, 64), scale=(256, 64), batch_size=8)


@pytest.fixture
def shards(smoke_data: dict[str, Path]) -> Shards:
    return Shards(smoke_data["ade20k"], "train")


def tensors(batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    full = torch.tensor(batch.labels.shape[1:]).expand(len(batch.labels), 2)
    return batch.images, batch.labels, full if batch.sizes is None else batch.sizes


def joined(batches: list[Batch]) -> Batch:
    return Batch(*(torch.cat(column) for column in zip(*map(tensors, batches), strict=True)))


def assert_equal(one: Batch, two: Batch) -> None:
    for a, b in zip(tensors(one), tensors(two), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("world_size", "grad_accum_steps"), [(1, 2), (2, 1), (2, 2), (4, 1), (8, 1)])
def test_every_world_size_sees_the_same_batches(
    shards: Shards, world_size: int, grad_accum_steps: int
) -> None:
    whole = list(micro_batches(shards, RECIPE, 3))
    recipe = dataclasses.replace(RECIPE, grad_accum_steps=grad_accum_steps)
    ranks = [list(micro_batches(shards, recipe, 3, rank=r, world_size=world_size)) for r in range(world_size)]
    for step, expected in enumerate(whole):
        micros = range(step * grad_accum_steps, (step + 1) * grad_accum_steps)
        assert_equal(joined([rank[micro] for micro in micros for rank in ranks]), expected)


@pytest.mark.parametrize("first_step", [1, 4, 5])
def test_resumed_batches_are_the_rest(shards: Shards, first_step: int) -> None:
    whole = list(micro_batches(shards, RECIPE, 3))
    rest = list(micro_batches(shards, RECIPE, 3, first_step=first_step))
    assert len(rest) == len(whole) - first_step
    for one, two in zip(rest, whole[first_step:], strict=True):
        assert_equal(one, two)


def test_worker_processes_give_the_same_batches_to_keep(shards: Shards) -> None:
    """Keep more micro-batches than the ring has slots."""
    in_process = list(micro_batches(shards, dataclasses.replace(RECIPE, grad_accum_steps=2), 3))
    recipe = dataclasses.replace(RECIPE, grad_accum_steps=2, loader_workers=2)
    state = torch.get_rng_state()
    by_workers = list(micro_batches(shards, recipe, 3))
    assert torch.equal(torch.get_rng_state(), state)
    assert len(by_workers) == len(in_process) == 12
    for one, two in zip(by_workers, in_process, strict=True):
        assert_equal(one, two)


def test_the_loader_neither_reads_nor_moves_the_global_generator(shards: Shards) -> None:
    batches = []
    for global_seed in (1, 2):
        torch.manual_seed(global_seed)
        state = torch.get_rng_state()
        batches.append(joined(list(micro_batches(shards, RECIPE, 3))))
        assert torch.equal(torch.get_rng_state(), state)
    assert_equal(*batches)


def test_no_samples_is_refused(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shards, "__len__", lambda self: 0)
    with pytest.raises(DataError, match="no samples"):
        micro_batches(shards, RECIPE, 3)


def test_batches_hold_the_samples_of_the_order(shards: Shards) -> None:
    still = dataclasses.replace(
        RECIPE,
        crop=(64, 96),
        ratio_range=(1.0, 1.0),
        flip_probability=0.0,
        photometric=False,
        max_class_share=1.0,
    )
    for step, batch in enumerate(micro_batches(shards, still, 5)):
        for position in range(still.batch_size):
            sample = sample_at(5, step, position, num_samples=len(shards), batch_size=still.batch_size)
            record = shards.read(sample)
            image, _ = decode(record.image, record.label)
            height, width = tensors(batch)[2][position].tolist()
            view = batch.images[position, :height, :width].numpy()
            starts = range(image.shape[1] - width + 1)
            assert any((image[:, left : left + width] == view).all() for left in starts)


def test_normalising_is_per_channel_and_leaves_padding_zero() -> None:
    images = torch.full((2, 4, 5, 3), 100, dtype=torch.uint8)
    sizes = torch.tensor([[4, 5], [2, 3]])
    values = normalise(images, (100.0, 90.0, 50.0), (1.0, 2.0, 5.0), sizes)
    assert values.shape == (2, 3, 4, 5)
    assert values[0, :, 3, 4].tolist() == [0.0, 5.0, 10.0]
    assert values[1, :, 1, 2].tolist() == [0.0, 5.0, 10.0]
    assert values[1, :, 2:].abs().max() == values[1, :, :, 3:].abs().max() == 0


def test_sizes_are_given_only_if_a_crop_is_padded(shards: Shards) -> None:
    for crop in ((64, 64), (64, 999)):
        recipe = dataclasses.replace(RECIPE, crop=crop, ratio_range=(1.0, 1.0))
        (batch, *_) = micro_batches(shards, recipe, 0)
        assert (batch.sizes is None) == (crop == (64, 64))


def test_views_differ_between_epochs(shards: Shards) -> None:
    recipe = dataclasses.replace(RECIPE, steps=2 * len(shards), batch_size=1)
    images = [batch.images for batch in micro_batches(shards, recipe, 0)]
    assert len({image.numpy().tobytes() for image in images}) > 1.9 * len(shards)
