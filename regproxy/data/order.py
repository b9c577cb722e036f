"""Which sample goes where: arithmetic in (seed, step, position), never a worker's history.

Samples form one endless stream, epoch after epoch, each epoch a permutation of its own; step t takes
the stream's places t * batch_size to (t + 1) * batch_size - 1. World size and micro-batches only decide
who takes which part of a step's batch.
"""

from functools import lru_cache

import numpy as np

_ORDER, _AUGMENT, _TORCH = range(3)  # keeps the streams of different purposes apart


def epoch_permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """Returns the order of an epoch's samples: int64 (num_samples,), a permutation of 0..num_samples-1.

    Sorts raw Philox words, whose bits, unlike those of NumPy's `permutation`, are fixed for all versions.
    """
    words = np.random.Philox(np.random.SeedSequence([_ORDER, seed, epoch])).random_raw(num_samples)
    return np.argsort(words, kind="stable")


@lru_cache(maxsize=4)
def _cached_permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    return epoch_permutation(seed, epoch, num_samples)


def sample_at(seed: int, step: int, position: int, *, num_samples: int, batch_size: int) -> int:
    """Returns the sample that stands at `position` of step `step`'s global batch."""
    epoch, place = divmod(step * batch_size + position, num_samples)
    return int(_cached_permutation(seed, epoch, num_samples)[place])


def global_batch(seed: int, step: int, num_samples: int, batch_size: int) -> list[int]:
    """Returns the samples of step `step`, in order, over all workers; a batch may span two epochs.

    Raises:
        ValueError: no samples to draw from.
    """
    if num_samples < 1:
        raise ValueError("the training split has no samples, prepare it again")
    size = {"num_samples": num_samples, "batch_size": batch_size}
    return [sample_at(seed, step, position, **size) for position in range(batch_size)]


def positions(*, batch_size: int, grad_accum_steps: int, world_size: int, rank: int) -> list[range]:
    """Returns the places of the global batch that `rank` takes, one range for each micro-batch.

    Raises:
        ValueError: the workers times micro-batches do not divide the global batch.
    """
    size, rest = divmod(batch_size, grad_accum_steps * world_size)
    if rest:
        raise ValueError(
            f"a batch of {batch_size} does not divide over {world_size} workers with {grad_accum_steps} "
            f"micro-batches each, choose a divisor"
        )
    starts = [(micro * world_size + rank) * size for micro in range(grad_accum_steps)]
    return [range(start, start + size) for start in starts]


def augmentation_generator(seed: int, step: int, position: int) -> np.random.Generator:
    """Returns the generator that draws the augmentation of one place of one step's global batch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([_AUGMENT, seed, step, position])))


def torch_seed(seed: int, step: int, place: int) -> int:
    """Returns torch's seed, 0..2**63-1, for a micro-batch by its place in a step's batch (drop path)."""
    return int(np.random.SeedSequence([_TORCH, seed, step, place]).generate_state(1, np.uint64)[0] >> 1)
