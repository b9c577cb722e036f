"""One pass over a raw data set: decode and check every file, count its labels, look for mistakes.

`prepare` writes the records of the pass to shards; `regproxy check-data` only shows what it found.
"""

import hashlib
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import cv2
import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import SPLITS
from regproxy.data.checks import find_mistakes
from regproxy.data.images import decode_image
from regproxy.data.labels import decode_label, label_table, map_values
from regproxy.data.pairs import Pair, find_pairs
from regproxy.data.shards import Record
from regproxy.data.statistics import LabelCounts, SplitCounts, count_label
from regproxy.errors import DataError

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
    """

    splits: dict[str, SplitCounts]
    pairs: dict[str, list[Pair]]
    problems: list[str]
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Converted:
    """A pair after decoding: its record unless it has `problems`, its counts if the label was read.

    `image_sha256` identifies the bytes of the image's file.
    """

    record: Record | None = None
    problems: tuple[str, ...] = ()
    size: tuple[int, int] = (0, 0)  # (height, width) of the label
    counts: LabelCounts | None = None
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
        ConfigError: void labels are invalid.
    """
    convert = partial(convert_pair, table=label_table(data), make_record=write is not None)
    found = {split: find_pairs(data, split) for split in SPLITS}
    problems = list(dict.fromkeys(message for _, messages in found.values() for message in messages))
    pairs = {split: split_pairs for split, (split_pairs, _) in found.items()}
    total, finished = sum(map(len, pairs.values())), 0
    if workers is None:  # starting a process takes as long as converting about a hundred small pairs
        workers = min(os.cpu_count() or 1, 1 + total // 200)
    result = Scan({split: SplitCounts() for split in pairs}, pairs, problems)
    hashes: dict[str, dict[bytes, str]] = {split: {} for split in pairs}
    every_pair = [pair for split_pairs in pairs.values() for pair in split_pairs]
    with closing(_map_ordered(convert, every_pair, workers=workers)) as results:
        for split, split_pairs in pairs.items():
            for pair, converted in zip(split_pairs, islice(results, len(split_pairs)), strict=True):
                problems += converted.problems
                if converted.counts:
                    result.splits[split].add(*converted.size, converted.counts)
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


def convert_pair(pair: Pair, *, table: np.ndarray, make_record: bool = True) -> Converted:
    """Decode and check one pair; return its record, unless `make_record` is off, and its counts."""
    encoded, decoded, problems = [], [], []
    for path, decode in ((pair.image, decode_image), (pair.label, decode_label)):
        try:
            encoded.append(path.read_bytes())
            decoded.append(decode(encoded[-1]))
        except (OSError, DataError) as error:
            problems.append(f"{path}: {error}")
    if problems:
        return Converted(problems=tuple(problems))
    image, values = decoded
    if image.shape[:2] != values.shape:
        sizes = "{1} x {0}; got {3} x {2}".format(*image.shape[:2], *values.shape)
        return Converted(problems=(f"{pair.label} is invalid: expected the image's width x height {sizes}.",))
    counted = {
        "size": values.shape,
        "counts": count_label(values, table),
        "image_sha256": hashlib.sha256(encoded[0]).digest(),
    }
    try:
        label = map_values(values, table)
    except DataError as error:
        return Converted(problems=(f"{pair.label}: {error}",), **counted)
    if not make_record:
        return Converted(**counted)
    return Converted(Record(pair.id, encoded[0], encode_label(label), *label.shape), **counted)


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
