"""Batches of a training: shards in, stacked uint8 crops out, in the order that order.py computes."""

from collections.abc import Callable, Iterator
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
    """A micro-batch: images (B, X, Y, 3) uint8 RGB, labels (B, X, Y) uint8.

    `sizes` (B, 2) int64 are the (height, width) of each crop before padding, None where none is padded.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor | None

    def pin_memory(self) -> "Batch":
        return self._each(Tensor.pin_memory)

    def to(self, device: torch.device) -> "Batch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        sizes = None if self.sizes is None else change(self.sizes)
        return Batch(change(self.images), change(self.labels), sizes)


def decode(encoded_image: bytes, encoded_label: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decodes a record to an (H, W, 3) uint8 RGB image and an (H, W) uint8 label."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(encoded_image, np.uint8), flags)
    label = cv2.imdecode(np.frombuffer(encoded_label, np.uint8), cv2.IMREAD_GRAYSCALE)
    return image, label


def normalise(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], sizes: Tensor | None = None
) -> Tensor:
    """Turns (B, X, Y, 3) uint8 pixels into (B, 3, X, Y) float32, (value - mean) / std a channel.

    Pixels outside `sizes` (B, 2) become 0 after normalising, as the recipe pads them.
    """
    values = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    mean, std = (torch.tensor(statistic, device=images.device)[:, None, None] for statistic in (mean, std))
    values.sub_(mean).div_(std)
    if sizes is not None:
        rows, columns = (torch.arange(size, device=images.device) for size in values.shape[2:])
        inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]
        values.masked_fill_(~inside[:, None], 0.0)
    return values


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
    padded = any(size != label.shape for size, label in zip(sizes, labels, strict=True))
    images, labels = (torch.from_numpy(np.stack(arrays)) for arrays in (images, labels))
    return Batch(images, labels, torch.tensor(sizes) if padded else None)


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
