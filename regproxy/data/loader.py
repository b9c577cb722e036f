"""Batches of a training: shards in, stacked uint8 crops out, in the order that order.py computes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regproxy.config.variant import Recipe
from regproxy.data.order import augmentation_generator, positions, sample_at
from regproxy.data.shards import Shards
from regproxy.data.transforms import augment, pad

_PREFETCH = 2  # micro-batches that each worker process makes beforehand


@dataclass(frozen=True)
class Batch:
    """A micro-batch: images (B, X, Y, 3) uint8 RGB, labels (B, X, Y) uint8.

    `sizes` (B, 2) int64 are the (height, width) of each crop before padding, None where none is padded.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor | None

    def clone(self) -> "Batch":
        return self._each(Tensor.clone)

    def pin_memory(self) -> "Batch":
        return self._each(Tensor.pin_memory)

    def share_memory(self) -> "Batch":
        return self._each(Tensor.share_memory_)

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
    mean, std = (torch.tensor(statistic, device=images.device)[:, None, None] for statistic in (mean, std))
    pixels = images.permute(0, 3, 1, 2)
    values = torch.empty(pixels.shape, device=images.device)
    torch.sub(pixels, mean, out=values).div_(std)  # one pass that converts, transposes and subtracts
    if sizes is not None:
        rows, columns = (torch.arange(size, device=images.device) for size in values.shape[2:])
        inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]
        values.masked_fill_(~inside[:, None], 0.0)
    return values


class _Views(Dataset):
    """Training views by (slot, step, positions), written into one slot of a ring of micro-batches.

    It is picklable: worker processes share the memory map, and the ring where its memory is shared. What they
    send is where they have written; a micro-batch of its own in fresh shared memory would cost a third more.
    """

    def __init__(self, shards: Shards, recipe: Recipe, seed: int, ring: Batch) -> None:
        self.shards, self.recipe, self.seed, self.ring = shards, recipe, seed, ring

    def __getitem__(self, place: tuple[int, int, range]) -> tuple[int, list[tuple[int, int]]]:
        """Returns the slot and the (height, width) of each of its views before padding."""
        slot, step, part = place
        images, labels = (whole[slot].numpy() for whole in (self.ring.images, self.ring.labels))
        sizes = []
        for row, position in enumerate(part):
            image, label = self._view(step, position)
            images[row], labels[row] = pad(image, label, self.recipe.crop)
            sizes.append(label.shape)
        return slot, sizes

    def _view(self, step: int, position: int) -> tuple[np.ndarray, np.ndarray]:
        size = {"num_samples": len(self.shards), "batch_size": self.recipe.batch_size}
        record = self.shards.read(sample_at(self.seed, step, position, **size))
        image, label = decode(record.image, record.label)
        return augment(image, label, self.recipe, augmentation_generator(self.seed, step, position))


def _start_worker(_: int) -> None:
    cv2.setNumThreads(1)  # the workers are the parallelism
    # Having freed a large array once, the C library keeps the memory of decoded images, instead of giving it
    # back to the system, which would clear and map it again for the next one.
    np.empty(30 * 2**20, np.uint8)


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
    """Yields the micro-batches of `rank` from `first_step` on: `recipe.grad_accum_steps` of them a step.

    Raises:
        ValueError: the workers and micro-batches do not divide the batch, or there are no samples.
    """
    if not len(shards):
        raise ValueError("the training split has no samples, prepare it again")
    parts = positions(
        batch_size=recipe.batch_size,
        grad_accum_steps=recipe.grad_accum_steps,
        world_size=world_size,
        rank=rank,
    )
    workers, shape = recipe.loader_workers, (len(parts[0]), *recipe.crop)
    # A slot is written again only after its micro-batch was copied: there is one for each micro-batch that
    # workers have been asked for, and one for that which is being copied.
    num_slots = workers * _PREFETCH + 1
    ring = Batch(
        torch.empty(num_slots, *shape, 3, dtype=torch.uint8),
        torch.empty(num_slots, *shape, dtype=torch.uint8),
        None,
    )
    if workers:
        ring = ring.share_memory()
    places = ((step, part) for step in range(first_step, recipe.steps) for part in parts)
    loader = DataLoader(
        _Views(shards, recipe, seed, ring),
        batch_size=None,
        sampler=((turn % num_slots, *place) for turn, place in enumerate(places)),
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        collate_fn=_as_it_is,
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # it draws a seed for its workers, which must not move torch's own
    )
    return _copies(iter(loader), ring, Batch.pin_memory if pin_memory else Batch.clone)


def is_lost_worker(error: Exception) -> bool:
    """Whether an error in a training says that one of its loader's processes has died, as torch puts it."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _as_it_is(message: Any) -> Any:
    return message


def _copies(
    written: Iterator[tuple[int, list]], ring: Batch, copy: Callable[[Batch], Batch]
) -> Iterator[Batch]:
    for slot, sizes in written:
        padded = any(size != ring.labels.shape[2:] for size in sizes)
        yield copy(Batch(ring.images[slot], ring.labels[slot], torch.tensor(sizes) if padded else None))
