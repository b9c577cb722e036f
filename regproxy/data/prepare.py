"""Raw folders to shards: every file is decoded and checked, then stored; the `prepare` stage's work."""

import io
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
from PIL import Image, UnidentifiedImageError

from regproxy.config.formats import SPLITS
from regproxy.config.variant import DataConfig
from regproxy.data.pairs import Pair, find_pairs, label_table
from regproxy.data.shards import MANIFEST, Record, ShardWriter, write_manifest
from regproxy.errors import DataError
from regproxy.storage.atomic import replaced_directory

__all__ = ["DataError", "convert_pair", "decode_image", "encode_label", "prepare", "read_label"]

# Label maps are flat: without row filters they are written and, what counts in training, read fastest.
_LABEL_PNG = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 3)
_SHOWN_PROBLEMS = 10


def prepare(
    data: DataConfig,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Converts both splits of a data set to shards in `out` and returns the manifest.

    The same input gives the same bytes, whatever the number of workers. An earlier result in `out` is
    replaced when the new one is complete; on an error it stays as it was.

    Args:
        workers: processes that decode and check, default up to one a CPU; 1 works in this process. More start
            afresh ("spawn"), so a script that calls this needs an `if __name__ == "__main__"` guard.
        progress: called after every pair with (pairs done, pairs in all).

    Raises:
        DataError: anything wrong with any file or folder, the first ten problems and their number.
        ConfigError: void labels that cannot be.
    """
    table = label_table(data)
    found = {split: find_pairs(data, split) for split in SPLITS}
    problems = list(dict.fromkeys(problem for _, more in found.values() for problem in more))
    pairs = [pair for split_pairs, _ in found.values() for pair in split_pairs]
    if workers is None:  # a process takes about as long to start as a hundred small pairs to convert
        workers = min(os.cpu_count() or 1, 1 + len(pairs) // 200)
    done, splits = 0, {}
    with (
        replaced_directory(out, marker=MANIFEST) as temporary,
        closing(_map_ordered(partial(convert_pair, table=table), pairs, workers=workers)) as results,
    ):
        for split, (split_pairs, _) in found.items():
            with closing(ShardWriter(temporary, split=split, classes=data.classes)) as writer:
                for result in islice(results, len(split_pairs)):
                    if not isinstance(result, Record):
                        problems += result
                    elif not problems:
                        writer.write(result)
                    done += 1
                    if progress is not None:
                        progress(done, len(pairs))
                splits[split] = writer.finish()
        if problems:
            raise DataError(_summary(data, problems))
        return write_manifest(temporary, classes=data.classes, splits=splits)


def convert_pair(pair: Pair, *, table: np.ndarray) -> Record | list[str]:
    """Checks one pair and returns its record, or what is wrong with it."""
    problems = []
    image, image_bytes = None, b""
    try:
        image_bytes = pair.image.read_bytes()
        image = decode_image(image_bytes)
    except (OSError, DataError) as error:
        problems.append(f"{pair.image}: {error}")
    try:
        label = read_label(pair.label.read_bytes(), table=table)
    except (OSError, DataError) as error:
        return [*problems, f"{pair.label}: {error}"]
    if image is not None and image.shape[:2] != label.shape:
        sizes = " but ".join("{1} x {0}".format(*array.shape) for array in (image, label))
        problems.append(f"{pair.label}: the image is {sizes} the label (width x height), they must be equal")
    if problems:
        return problems
    return Record(pair.id, image_bytes, encode_label(label), *label.shape)


def encode_label(label: np.ndarray) -> bytes:
    """Returns train ids, uint8 (H, W), as the PNG that shards hold."""
    _, encoded = cv2.imencode(".png", label, _LABEL_PNG)
    return encoded.tobytes()


def decode_image(encoded: bytes, *, upright: bool = False) -> np.ndarray:
    """Decodes a JPEG or PNG of any kind to (H, W, 3) uint8 RGB.

    Pixels lie as in the file, as a label's do, or `upright` as a camera that was turned has noted.

    Raises:
        DataError: it cannot be decoded.
    """
    flags = cv2.IMREAD_COLOR_RGB | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError("the image cannot be decoded, it is damaged or no JPEG or PNG; replace it")
    return image


def read_label(encoded: bytes, *, table: np.ndarray) -> np.ndarray:
    """Decodes a label PNG to train ids, uint8 (H, W).

    A palette is read as its indices. OpenCV would give its colours, hence Pillow.

    Args:
        table: of 256 train ids by value on disk, negative where a value is unknown (see `label_table`).

    Raises:
        DataError: not a PNG, damaged, more than one channel, or values that the table does not know.
    """
    try:
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as picture:
            mode = picture.mode
            values = np.asarray(picture)
    except UnidentifiedImageError:
        raise DataError("the label is not a PNG image, save it as a lossless single-channel PNG") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"the label cannot be decoded ({error}), replace it") from None
    if values.ndim != 2:
        raise DataError(
            f"the label has {values.shape[2]} channels ({mode}), expected one channel of class ids; "
            "map its colours to ids and save it as a single-channel PNG"
        )
    if values.dtype != np.uint8:  # one bit or sixteen
        _check_known(values, table)
        values = values.astype(np.uint8)
    values = values // _grey_step(encoded)
    ids = cv2.LUT(values, table)
    if ids.min() < 0:
        _check_known(values, table)
    return ids.astype(np.uint8)


def _check_known(values: np.ndarray, table: np.ndarray) -> None:
    known = np.flatnonzero(table >= 0)
    unknown = np.setdiff1d(values, known)
    if unknown.size:
        plural, verb = ("s", "are") if unknown.size > 1 else ("", "is")
        raise DataError(
            f"label value{plural} {_ranges(unknown)} {verb} not known, allowed are {_ranges(known)}; "
            "correct the label or list the value under void_labels"
        )


def _grey_step(encoded: bytes) -> int:
    # Grey PNGs of 2 and 4 bits decode stretched to 0..255; bytes 24 and 25 are IHDR's depth and colour type.
    depth, colour_type = encoded[24], encoded[25]
    return {2: 85, 4: 17}.get(depth, 1) if colour_type == 0 else 1


def _ranges(values: np.ndarray) -> str:
    """Writes sorted integers as "0..4, 7, 255"."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)


def _map_ordered(function: Callable[[Pair], Any], items: Iterable[Pair], *, workers: int) -> Iterator[Any]:
    """Maps over processes, results in the order of the items, few of them waiting in memory at a time."""
    if workers < 2:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("spawn")  # the caller may hold threads, which fork would break
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        waiting: deque = deque()
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > 8 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _summary(data: DataConfig, problems: list[str]) -> str:
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    more = len(problems) - _SHOWN_PROBLEMS
    rest = f"\n  ... and {more} more" if more > 0 else ""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return f"data set {data.name} cannot be prepared, {count}; nothing was written:\n{shown}{rest}"
