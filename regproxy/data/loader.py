"""Batches of a training: shards in, stacked uint8 crops out, in the order that order.py computes."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regproxy.config import Recipe
from regproxy.data.order import augmentation_generator, positions, sample_at
from regproxy.data.shards import Shards
from regproxy.data.transforms import augment, pad


@dataclass(frozen=True)
class Batch:
    """A micro-batch: images (B, X, Y, 3) uint8 RGB, labels (B, X, Y) uint8, sizes (B, 2) int64.

    `sizes` are the (height, width) of each crop before padding.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor

    def pin_memory(self) -> "Batch":
        return Batch(self.images.pin_memory(), self.labels.pin_memory(), self.sizes.pin_memory())

    def to(self, device: torch.device) -> "Batch":
        parts = (self.images, self.labels, self.sizes)
        return Batch(*(part.to(device, non_blocking=True) for part in parts))


def decode(encoded_image: bytes, encoded_label: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a record to an (H, W, 3) uint8 RGB image and an (H, W) uint8 label."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(encoded_image, np.uint8), flags)
    label = cv2.imdecode(np.frombuffer(encoded_label, np.uint8), cv2.IMREAD_GRAYSCALE)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), label


def normalise(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], sizes: Tensor | None = None
) -> Tensor:
    """Turns (B, X, Y, 3) uint8 pixels into (B, 3, X, Y) float32, (value - mean) / std a channel.

    Pixels outside `sizes` (B, 2) become 0 after normalising, as the recipe pads them.
    """
    mean, std = (torch.tensor(values, device=images.device) for values in (mean, std))
    values = ((images.float() - mean) / std).permute(0, 3, 1, 2)
    if sizes is None:
        return values.contiguous()
    rows, columns = (torch.arange(size, device=images.device) for size in values.shape[2:])
    inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]
    return torch.where(inside[:, None], values, 0.0)


class _Views(Dataset):
    """Training views by (step, position); picklable, so that worker processes share the memory map."""

    def __init__(self, shards: Shards, recipe: Recipe, seed: int) -> None:
        self.shards, self.recipe, self.seed = shards, recipe, seed

    def __getitem__(self, place: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[int, int]]:
        step, position = place
        size = {"num_samples": len(self.shards), "batch_size": self.recipe.batch_size}
        record = self.shards.read(sample_at(self.seed, step, position, **size))
        image, label = decode(record.image, record.label)
        generator = augmentation_generator(self.seed, step, position)
        image, label = augment(image, label, self.recipe, generator)
        return *pad(image, label, self.recipe.crop), label.shape


def _stack(views: list[tuple[np.ndarray, np.ndarray, tuple[int, int]]]) -> Batch:
    images, labels, sizes = zip(*views, strict=True)
    return Batch(torch.from_numpy(np.stack(images)), torch.from_numpy(np.stack(labels)), torch.tensor(sizes))


def _quiet_worker(_: int) -> None:
    cv2.setNumThreads(1)  # the workers are the parallelism


def micro_batches(
    shards: Shards,
    recipe: Recipe,
    seed: int,
    *,
    first_step: int = 0,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Yields the micro-batches of `rank` from `first_step` on: `recipe.accumulate` of them a step.

    Raises:
        ValueError: the workers and micro-batches do not divide the batch, or there are no samples.
    """
    if not len(shards):
        raise ValueError("the training split has no samples, prepare it again")
    parts = positions(
        batch_size=recipe.batch_size, accumulate=recipe.accumulate, world_size=world_size, rank=rank
    )
    places = (
        [(step, position) for position in part] for step in range(first_step, recipe.steps) for part in parts
    )
    workers = recipe.loader_workers
    return iter(
        DataLoader(
            _Views(shards, recipe, seed),
            batch_sampler=places,
            num_workers=workers,
            collate_fn=_stack,
            pin_memory=pin_memory,
            worker_init_fn=_quiet_worker,
            multiprocessing_context="spawn" if workers else None,
        )
    )
