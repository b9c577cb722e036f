"""Convert raw folders to shards: decode and check every file, then store it."""

import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.data.images import match_label, read_image
from regproxy.data.labels import read_label
from regproxy.data.pairs import Pair, find_pairs
from regproxy.data.shards import MANIFEST, Record, ShardWriter, write_manifest
from regproxy.errors import DataError
from regproxy.raw.folders import text_of
from regproxy.storage.atomic import atomic_folder

# Label maps have large areas of one value. Without row filters they are decoded fastest, also in training.
_LABEL_PNG = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 3)
_SHOWN_PROBLEMS = 10


def prepare(
    data: DataConfig,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Convert all splits of a data set to shards in `out` and return the manifest.

    Equal input gives equal bytes, for any number of workers. The new result replaces an earlier one in `out`
    when it is complete; on an error the earlier one remains.

    Args:
        workers: number of processes, default at most one a CPU; 1 uses this process. Others are spawned, so a
            script that calls this function needs an `if __name__ == "__main__"` guard.
        progress: called after every pair with (finished pairs, all pairs).
        note: called first with each line about files that are left out.

    Raises:
        DataError: files or folders are invalid; the message has their number and the first ten problems.
        ConfigError: the root has an environment variable that is not set.
    """
    found = find_pairs(data)
    problems = list(dict.fromkeys(found.problems))
    pairs = [pair for split_pairs in found.splits.values() for pair in split_pairs]
    for line in found.notes if note is not None else ():
        note(line)
    if workers is None:  # starting a process takes as long as converting about a hundred small pairs
        workers = min(os.cpu_count() or 1, 1 + len(pairs) // 200)
    finished, splits = 0, {}
    with (
        atomic_folder(out, marker=MANIFEST) as temporary,
        closing(_map_ordered(partial(convert_pair, data=data), pairs, workers=workers)) as results,
    ):
        for split, split_pairs in found.splits.items():
            with closing(ShardWriter(temporary, split=split, classes=data.classes)) as writer:
                for result in islice(results, len(split_pairs)):
                    if not isinstance(result, Record):
                        problems += result
                    elif not problems:
                        writer.write(result)
                    finished += 1
                    if progress is not None:
                        progress(finished, len(pairs))
                splits[split] = writer.finish()
        if problems:
            raise DataError(_summary(data, problems))
        return write_manifest(temporary, classes=data.classes, splits=splits)


def convert_pair(pair: Pair, *, data: DataConfig) -> Record | list[str]:
    """Check one pair and return its record, or a message for each problem."""
    image = label = None
    problems = []
    try:
        image = read_image(pair.image.read_bytes(), image_range=data.image_range)
    except (OSError, DataError) as error:
        problems.append(f"{text_of(pair.image)}: {_reason(error)}")
    try:
        label = read_label(pair.label.read_bytes(), data=data)
    except (OSError, DataError) as error:
        problems.append(f"{text_of(pair.label)}: {_reason(error)}")
    if image is None or label is None:
        return problems
    try:
        image = match_label(image, label.shape, data.exif)
    except DataError as error:
        return [f"{text_of(pair.image)}: {error}"]
    if image.pixels.shape[:2] != label.shape:
        sizes = "{1} x {0}; got {3} x {2}".format(*image.pixels.shape[:2], *label.shape)
        return [f"{text_of(pair.label)} is invalid: expected the image's width x height {sizes}."]
    return Record(pair.id, image.encoded, encode_label(label), *label.shape)


def _reason(error: OSError | DataError) -> str:
    return str(error) if isinstance(error, DataError) else f"it cannot be read ({error.strerror})."


def encode_label(label: np.ndarray) -> bytes:
    """Return train ids, uint8 (H, W), as a PNG file for a shard."""
    _, encoded = cv2.imencode(".png", label, _LABEL_PNG)
    return encoded.tobytes()


def _map_ordered(function: Callable[[Pair], Any], items: Iterable[Pair], *, workers: int) -> Iterator[Any]:
    """Yield `function(item)` in the order of items, computed by processes at most 8 x workers items ahead."""
    if workers < 2:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # fork breaks a caller that has threads
    with ProcessPoolExecutor(workers, context, cv2.setNumThreads, (1,)) as pool:
        rest = iter(items)
        pending = deque(pool.submit(function, item) for item in islice(rest, 8 * workers))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(pool.submit(function, item) for item in islice(rest, 1))
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _summary(data: DataConfig, problems: list[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    hidden = len(problems) - _SHOWN_PROBLEMS
    rest = f"\n  ... and {hidden} more" if hidden > 0 else ""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return f"data set {data.name} cannot be prepared: {count}. Nothing was written.\n{shown}{rest}"
