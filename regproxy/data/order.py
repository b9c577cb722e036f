"""The order of samples: a pure function of (seed, step, position), so that resuming needs no history.

The samples form one endless stream, epoch after epoch; each epoch is a new permutation of the split. A step
takes the next `batch_size` samples of the stream. World size and micro-batches only decide which rank
processes which positions of a step's global batch.

Legend:
    step: training step, from 0.
    position: index in the global batch of a step, 0..batch_size-1.
    sample: index in the training split, 0..num_samples-1.
    rank: index of a worker, 0..world_size-1.
    micro: index of a micro-batch in a step of one worker, 0..grad_accum_steps-1.
"""

from functools import lru_cache

import numpy as np

from regproxy.errors import ConfigError

_ORDER, _AUGMENT, _TORCH = range(3)  # separate the random streams of different purposes


@lru_cache(maxsize=4)  # a batch may span two epochs
def epoch_permutation(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """Return the order of an epoch's samples: int64 (num_samples,), a permutation of 0..num_samples-1.

    It sorts raw Philox words, because NumPy guarantees their bits for all versions and `permutation`'s not.
    """
    words = np.random.Philox(np.random.SeedSequence([_ORDER, seed, epoch])).random_raw(num_samples)
    return np.argsort(words, kind="stable")


def sample_at(seed: int, step: int, position: int, *, num_samples: int, batch_size: int) -> int:
    """Return the sample at a position of a step's global batch."""
    epoch, offset = divmod(step * batch_size + position, num_samples)
    return int(epoch_permutation(seed, epoch, num_samples)[offset])


def rank_positions(batch_size: int, grad_accum_steps: int, *, world_size: int, rank: int) -> list[range]:
    """Return the positions of the global batch that a rank processes, one range for each micro-batch.

    Raises:
        ConfigError: world_size x grad_accum_steps does not divide batch_size.
    """
    micro_size, rest = divmod(batch_size, grad_accum_steps * world_size)
    if rest:
        raise ConfigError(
            f"batch_size {batch_size} is invalid: expected a multiple of {world_size} workers x "
            f"{grad_accum_steps} grad_accum_steps. Change one of the three."
        )
    starts = [(micro * world_size + rank) * micro_size for micro in range(grad_accum_steps)]
    return [range(start, start + micro_size) for start in starts]


def augmentation_generator(seed: int, step: int, position: int) -> np.random.Generator:
    """Return the generator that draws the augmentation of one position of a step's global batch."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([_AUGMENT, seed, step, position])))


def torch_seed(seed: int, step: int, micro_batch: int) -> int:
    """Return torch's seed, 0..2**63-1, for the drop path of micro-batch micro * world_size + rank."""
    return int(np.random.SeedSequence([_TORCH, seed, step, micro_batch]).generate_state(1, np.uint64)[0] >> 1)
