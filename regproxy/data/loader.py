"""Load training batches: read samples from shards in the order of order.py, augment and stack them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from regproxy.config.recipe import Recipe
from regproxy.data.order import augmentation_generator, rank_positions, sample_at
from regproxy.data.shards import Shards
from regproxy.data.transforms import augment, pad
from regproxy.errors import DataError

_PREFETCH = 2  # micro-batches that each loader process prepares in advance


@dataclass(frozen=True)
class Batch:
    """A micro-batch of B crops of X x Y pixels."""

    images: Tensor  # (B, X, Y, 3) uint8 RGB
    labels: Tensor  # (B, X, Y) uint8 train ids, 255 void
    sizes: Tensor | None  # (B, 2) int64, (height, width) of each crop before padding; None if none is padded

    def to(self, device: torch.device) -> "Batch":
        """Return a copy on a device; a copy of pinned memory does not block."""
        tensors = (self.images, self.labels, self.sizes)
        return Batch(*(None if part is None else part.to(device, non_blocking=True) for part in tensors))


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


@dataclass(frozen=True)
class _Views(Dataset):
    """Training views, written into slots of a ring of micro-batches.

    Loader processes receive it pickled. They share the memory map of the shards and, if its memory is shared,
    the ring, so they send only a slot's index. New shared memory for each micro-batch would take a third
    more time.
    """

    shards: Shards
    recipe: Recipe
    seed: int
    ring: tuple[Tensor, Tensor, Tensor]  # images, labels and sizes of all slots, as in Batch

    def __getitem__(self, request: tuple[int, int, range]) -> int:
        """Write the views of a (slot, step, positions) and return the slot."""
        slot, step, positions = request
        images, labels, sizes = (tensor[slot].numpy() for tensor in self.ring)
        size = {"num_samples": len(self.shards), "batch_size": self.recipe.batch_size}
        for row, position in enumerate(positions):
            record = self.shards.read(sample_at(self.seed, step, position, **size))
            image, label = decode(record.image, record.label)
            generator = augmentation_generator(self.seed, step, position)
            image, label = augment(image, label, self.recipe, generator)
            sizes[row] = label.shape
            images[row], labels[row] = pad(image, label, self.recipe.crop)
        return slot


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
    positions = rank_positions(recipe.batch_size, recipe.grad_accum_steps, world_size=world_size, rank=rank)
    workers, size = recipe.loader_workers, len(positions[0])
    # A slot must not be overwritten before its micro-batch is copied. So there is one slot for each
    # micro-batch that the loader processes prepare in advance, and one for the micro-batch being copied.
    num_slots = workers * _PREFETCH + 1
    ring = (
        torch.empty(num_slots, size, *recipe.crop, 3, dtype=torch.uint8),
        torch.empty(num_slots, size, *recipe.crop, dtype=torch.uint8),
        torch.empty(num_slots, size, 2, dtype=torch.int64),
    )
    if workers:
        for tensor in ring:
            tensor.share_memory_()
    requests = ((step, micro) for step in range(first_step, recipe.steps) for micro in positions)
    loader = DataLoader(
        _Views(shards, recipe, seed, ring),
        batch_size=None,
        sampler=((index % num_slots, *request) for index, request in enumerate(requests)),
        num_workers=workers,
        prefetch_factor=_PREFETCH if workers else None,
        worker_init_fn=_start_worker,
        multiprocessing_context="spawn" if workers else None,
        generator=torch.Generator(),  # else DataLoader draws a seed from torch's global generator
    )
    return _copies(iter(loader), ring, Tensor.pin_memory if pin_memory else Tensor.clone)


def _copies(
    slots: Iterator[int], ring: tuple[Tensor, ...], copy: Callable[[Tensor], Tensor]
) -> Iterator[Batch]:
    """Yield a copy of each written slot, so that the slot can be reused."""
    for slot in slots:
        images, labels, sizes = (copy(tensor[slot]) for tensor in ring)
        padded = (sizes != torch.tensor(labels.shape[1:])).any()
        yield Batch(images, labels, sizes if padded else None)


def is_lost_worker(error: Exception) -> bool:
    """Return whether an error means that a loader process has died; torch has no type for it."""
    return isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker")
