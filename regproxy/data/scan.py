"""One pass over a raw data set: decode and check every file, count its labels, look for mistakes.

`prepare` writes the records of the pass to shards; `regproxy check-data` only shows what it found.
"""

import hashlib
import multiprocessing
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.data.checks import find_mistakes
from regproxy.data.images import match_label, read_image
from regproxy.data.labels import label_table, read_label
from regproxy.data.pairs import Pair, find_pairs
from regproxy.data.shards import Record
from regproxy.data.statistics import SplitCounts, count_values
from regproxy.errors import DataError
from regproxy.raw.folders import text_of

# Label maps have large areas of one value. Without row filters they are decoded fastest, also in training.
_LABEL_PNG = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 3)


@dataclass
class Scan:
    """What one pass over a data set found.

    Attributes:
        splits: the counts of each split.
        pairs: the pairs of each split, in the order of their ids.
        problems: one message for each file or folder that cannot be used.
        errors: mistakes in the data set as a whole, found in the counts, because of which it is refused.
        warnings: findings that the user should know; the data set can be used.
        notes: what was left out of the folders.
    """

    splits: dict[str, SplitCounts]
    pairs: dict[str, list[Pair]]
    problems: list[str]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Converted:
    """A pair after decoding.

    Attributes:
        record: for a shard; None if there are problems or none was wanted.
        problems: messages about the two files.
        size: (height, width) of the label.
        values: the label's pixels by value on disk, if it was decoded.
        train_ids: its pixels by train id, if the pair has no problems.
        image_sha256: of the image's file, if the pair has no problems.
    """

    record: Record | None = None
    problems: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)
    values: Mapping[int, int] = field(default_factory=dict)
    train_ids: Mapping[int, int] = field(default_factory=dict)
    image_sha256: bytes = b""


def scan(
    data: DataConfig,
    *,
    write: Callable[[str, Record], None] | None = None,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Scan:
    """Decode and check every pair of a data set and return what was found.

    Equal input gives an equal result, for any number of workers.

    Args:
        data: the data set.
        write: called with the name of the split and the record of each pair, in the order of splits and ids,
            until the first problem. Without it no record is made, which is faster.
        workers: number of processes, default at most one a CPU; 1 uses this process. Others are spawned, so a
            script that calls this function needs an `if __name__ == "__main__"` guard.
        progress: called after every pair with (finished pairs, all pairs).

    Raises:
        ConfigError: the root has an environment variable that is not set.
    """
    convert = partial(convert_pair, data=data, make_record=write is not None)
    found = find_pairs(data)
    pairs, problems = found.splits, list(dict.fromkeys(found.problems))
    total, finished = sum(map(len, pairs.values())), 0
    if workers is None:  # starting a process takes as long as converting about a hundred small pairs
        workers = min(os.cpu_count() or 1, 1 + total // 200)
    result = Scan({split: SplitCounts() for split in pairs}, pairs, problems, notes=found.notes)
    hashes: dict[str, dict[bytes, str]] = {split: {} for split in pairs}
    every_pair = [pair for split_pairs in pairs.values() for pair in split_pairs]
    with closing(_map_ordered(convert, every_pair, workers=workers)) as results:
        for split, split_pairs in pairs.items():
            for pair, converted in zip(split_pairs, islice(results, len(split_pairs)), strict=True):
                problems += converted.problems
                counts = result.splits[split]
                if not converted.problems:
                    counts.add(*converted.size, values=converted.values, train_ids=converted.train_ids)
                else:
                    counts.values.update(converted.values)
                hashes[split].setdefault(converted.image_sha256, pair.id)
                if write is not None and not problems:
                    write(split, converted.record)
                finished += 1
                if progress is not None:
                    progress(finished, total)
    result.errors, result.warnings = find_mistakes(
        data, result.splits, _shared(hashes), files_are_valid=not problems
    )
    return result


def convert_pair(pair: Pair, *, data: DataConfig, make_record: bool = True) -> Converted:
    """Decode and check one pair; return its counts and, if `make_record`, its record."""
    image = label = None
    encoded, problems, values = b"", [], {}
    try:
        encoded = pair.image.read_bytes()
        image = read_image(encoded, image_range=data.image_range)
    except (OSError, DataError) as error:
        problems.append(f"{text_of(pair.image)}: {_reason(error)}")
    try:
        label = read_label(pair.label.read_bytes(), data=data, counts=values)
    except (OSError, DataError) as error:
        problems.append(f"{text_of(pair.label)}: {_reason(error)}")
    if image is None or label is None:
        return Converted(problems=tuple(problems), values=values)
    try:
        image = match_label(image, label.shape, data.exif)
    except DataError as error:
        return Converted(problems=(f"{text_of(pair.image)}: {error}",), values=values)
    if image.pixels.shape[:2] != label.shape:
        sizes = "{1} x {0}; got {3} x {2}".format(*image.pixels.shape[:2], *label.shape)
        problem = f"{text_of(pair.label)} is invalid: expected the image's width x height {sizes}."
        return Converted(problems=(f"{problem} Replace one of the two.",), values=values)
    record = Record(pair.id, image.encoded, encode_label(label), *label.shape) if make_record else None
    return Converted(
        record,
        size=label.shape,
        values=values,
        train_ids=_train_ids(values, data) if values else count_values(label),
        image_sha256=hashlib.sha256(encoded).digest(),
    )


def _train_ids(values: Mapping[int, int], data: DataConfig) -> dict[int, int]:
    """Return the number of pixels of each train id from that of each value on disk."""
    counts: Counter[int] = Counter()
    for value, pixels in values.items():
        counts[int(label_table(data)[value])] += pixels
    return dict(counts)


def _reason(error: OSError | DataError) -> str:
    return str(error) if isinstance(error, DataError) else f"it cannot be read ({error.strerror})."


def encode_label(label: np.ndarray) -> bytes:
    """Return train ids, uint8 (H, W), as a PNG file for a shard."""
    _, encoded = cv2.imencode(".png", label, _LABEL_PNG)
    return encoded.tobytes()


def _shared(hashes: dict[str, dict[bytes, str]]) -> list[tuple[tuple[str, str], tuple[str, str]]]:
    """Return the images whose files are equal in two splits: pairs of (split, id)."""
    names = list(hashes)
    return [
        ((first, name), (second, hashes[second][digest]))
        for index, first in enumerate(names)
        for second in names[index + 1 :]
        for digest, name in hashes[first].items()
        if digest and digest in hashes[second]
    ]


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
