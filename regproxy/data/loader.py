"""Load training batches: read samples from shards in the order of order.py, augment and stack them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regproxy.config.variant import Recipe
from regproxy.data.order import augmentation_generator, rank_positions, sample_at
from regproxy.data.shards import Shards
from regproxy.data.transforms import augment, pad
from regproxy.errors import DataError

_PREFETCH = 2  # micro-batches that each loader process prepares in advance


@dataclass(frozen=True)
class Batch:
    """A micro-batch of B crops of X x Y pixels.

    Attributes:
        images: (B, X, Y, 3) uint8 RGB.
        labels: (B, X, Y) uint8 train ids, 255 void.
        sizes: (B, 2) int64, (height, width) of each crop before padding; None if no crop is padded.
    """

    images: Tensor
    labels: Tensor
    sizes: Tensor | None

    def to(self, device: torch.device) -> "Batch":
        """Return a copy on a device; a copy of pinned memory does not block."""
        return self.map(lambda tensor: tensor.to(device, non_blocking=True))

    def map(self, function: Callable[[Tensor], Tensor]) -> "Batch":
        """Return a batch with `function` applied to each tensor."""
        sizes = None if self.sizes is None else function(self.sizes)
        return Batch(function(self.images), function(self.labels), sizes)


def decode(encoded_image: bytes, encoded_label: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Decode a record to an (H, W, 3) uint8 RGB image and an (H, W) uint8 label of train ids."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(encoded_image, np.uint8), flags)
    label = cv2.imdecode(np.frombuffer(encoded_label, np.uint8), cv2.IMREAD_GRAYSCALE)
    return image, label


def normalise(
    images: Tensor, mean: tuple[float, ...], std: tuple[float, ...], sizes: Tensor | None = None
) -> Tensor:
    """Convert (B, X, Y, 3) uint8 pixels to (B, 3, X, Y) float32 values (pixel - mean) / std of each channel.

    Pixels outside `sizes` (B, 2) become 0: the authors pad images after normalising.
    """
    mean, std = (torch.tensor(statistic, device=images.device)[:, None, None] for statistic in (mean, std))
    pixels = images.permute(0, 3, 1, 2)
    values = torch.empty(pixels.shape, device=images.device)
    torch.sub(pixels, mean, out=values).div_(std)  # converts, transposes and subtracts in one pass
    if sizes is not None:
        rows, columns = (torch.arange(size, device=images.device) for size in values.shape[2:])
        inside = (rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :]
        values.masked_fill_(~inside[:, None], 0.0)
    return values


class _Views(Dataset):
    """Training views, written into slots of a ring of micro-batches.

    Loader processes receive it pickled. They share the memory map of the shards and, if its memory is shared,
    the ring, so they send only a slot's index. New shared memory for each micro-batch would take a third
    more time.
    """

    def __init__(self, shards: Shards, recipe: Recipe, seed: int, ring: Batch) -> None:
        self.shards, self.recipe, self.seed, self.ring = shards, recipe, seed, ring

    def __getitem__(self, request: tuple[int, int, range]) -> tuple[int, list[tuple[int, int]]]:
        """Write the views of a (slot, step, positions); return the slot and each (height, width) unpadded."""
        slot, step, positions = request
        images, labels = (tensor[slot].numpy() for tensor in (self.ring.images, self.ring.labels))
        sizes = []
        for row, position in enumerate(positions):
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
    cv2.setNumThreads(1)  # the loader processes already use all cores
    # After one large array was freed, the C library reuses the memory of decoded images. Otherwise it returns
    # the memory to the system after each image, which clears and maps it again for the next one.
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
    """Yield the micro-batches of a rank from `first_step` on, `recipe.grad_accum_steps` of them a step.

    Random numbers come from (seed, step, position) alone, never from torch's global generator.

    Raises:
        ConfigError: the workers times micro-batches do not divide the batch size.
        DataError: the split has no samples.
    """
    if not len(shards):
        raise DataError("the training split has no samples: expected at least one. Run prepare again.")
    positions = rank_positions(
        batch_size=recipe.batch_size,
        grad_accum_steps=recipe.grad_accum_steps,
        world_size=world_size,
        rank=rank,
    )
    workers, shape = recipe.loader_workers, (len(positions[0]), *recipe.crop)
    # A slot must not be overwritten before its micro-batch is copied. So there is one slot for each
    # micro-batch that the loader processes prepare in advance, and one for the micro-batch being copied.
    num_slots = workers * _PREFETCH + 1
    ring = Batch(
        torch.empty(num_slots, *shape, 3, dtype=torch.uint8),
        torch.empty(num_slots, *shape, dtype=torch.uint8),
        None,
    )
    if workers:
        ring = ring.map(Tensor.share_memory_)
    requests = ((step, micro) for step in range(first_step, recipe.steps) for micro in positions)
    loader = DataLoader(
        _Views(shards, recipe, seed, ring),
        batch_size=None,
        sampler=((index % num_slots, *request) for index, request in enumerate(requests)),
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        collate_fn=_unchanged,
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # else DataLoader draws a seed from torch's global generator
    )
    return _copies(iter(loader), ring, Tensor.pin_memory if pin_memory else Tensor.clone)


def is_lost_worker(error: Exception) -> bool:
    """Return whether an error means that a loader process has died; torch has no type for it."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")


def _unchanged(message: Any) -> Any:  # a named function, because loader processes receive it pickled
    return message


def _copies(
    written: Iterator[tuple[int, list]], ring: Batch, copy: Callable[[Tensor], Tensor]
) -> Iterator[Batch]:
    """Yield a copy of each written slot, so that the slot can be reused."""
    for slot, sizes in written:
        padded = any(size != ring.labels.shape[2:] for size in sizes)
        yield Batch(ring.images[slot], ring.labels[slot], torch.tensor(sizes) if padded else None).map(copy)
