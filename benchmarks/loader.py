"""Compare the speed of training views with the authors' way: `python -m benchmarks.loader`.

Each view is a 512 x 512 crop of a 683 x 512 pair (JPEG, PNG), with the paper's augmentation, on one core.
Plain reads the data set's files, resizes the whole image, crops it and normalises it in floats. Ours reads
pairs as stored in shards, resizes only the crop and keeps uint8 pixels. The last two columns also normalise
on this core; in training the device does it.
"""

import cv2
import numpy as np
import torch

from benchmarks import reference
from benchmarks.measure import Section, Settings, in_turns, main, milliseconds, ratio
from benchmarks.scenes import encoded_pairs, prepared
from regproxy.config.recipe import Recipe
from regproxy.data.loader import decode, normalise
from regproxy.data.order import augmentation_generator
from regproxy.data.transforms import augment, pad

RECIPE = Recipe(steps=1, crop=(512, 512), scale=(2048, 512))
VIEWS, BATCH = 24, 8  # views of a round, each of another pair; ours are normalised in batches


def ours(pair: tuple[bytes, bytes], step: int) -> tuple[np.ndarray, np.ndarray]:
    image, label = decode(*pair)
    image, label = augment(image, label, RECIPE, augmentation_generator(0, step, 0))
    return pad(image, label, RECIPE.crop)


def plain(pair: tuple[bytes, bytes], step: int) -> tuple[torch.Tensor, torch.Tensor]:
    return reference.view(pair, RECIPE, augmentation_generator(0, step, 0))


def normalised(pairs: list[tuple[bytes, bytes]]) -> torch.Tensor:
    """Return a batch of our views, normalised on this core."""
    pixels = np.stack([ours(pair, step)[0] for step, pair in enumerate(pairs)])
    return normalise(torch.from_numpy(pixels), RECIPE.image_mean, RECIPE.image_std)


def run(settings: Settings) -> Section:
    section = Section("Loader", __doc__)
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    pairs = encoded_pairs(VIEWS)
    shard_pairs = [prepared(pair) for pair in pairs]
    calls = {
        "plain": lambda: [plain(pair, step) for step, pair in enumerate(pairs)],
        "ours": lambda: [ours(pair, step) for step, pair in enumerate(shard_pairs)],
        "normalised": lambda: [normalised(shard_pairs[i : i + BATCH]) for i in range(0, VIEWS, BATCH)],
    }
    turns = in_turns(calls, settings.rounds(12), settings)
    section.add(
        **{
            "JPEG kB": sum(len(jpeg) for jpeg, _ in pairs) / len(pairs) / 1e3,
            "plain pairs/s": VIEWS * 1e3 / milliseconds(turns, "plain"),
            "ours pairs/s": VIEWS * 1e3 / milliseconds(turns, "ours"),
            "faster": ratio(turns, "plain", "ours"),
            "ours, normalised, pairs/s": VIEWS * 1e3 / milliseconds(turns, "normalised"),
            "faster, normalised": ratio(turns, "plain", "normalised"),
        }
    )
    return section


if __name__ == "__main__":
    main(run, __doc__)
