"""Look at a user's images and labels: how the files pair, what the labels hold, how large the images are."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from regproxy.config.class_tables import Colour
from regproxy.config.formats import FORMATS
from regproxy.errors import DataError
from regproxy.raw.decoding import decode_with_messages
from regproxy.raw.encoded import kind_of, open_picture, png_depth
from regproxy.raw.endings import pairing_endings
from regproxy.raw.label_files import read_pixels
from regproxy.raw.pool import Pool, read_pool

_SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_NUM_LABELS, _NUM_IMAGES = 500, 500  # files that are read, evenly spread
_MAX_COLOURS = 256


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was seen.

    `values` and `colours` count pixels of the labels that were read; one of them is empty. `image_max` is the
    largest value of images with 16 bits, None for 8 bits. `size` is the median height and width of images.
    """

    root: Path
    images: str  # folder below the root, like labels
    labels: str
    suffixes: dict[str, str]  # the keys image_suffix and label_suffix, as far as they are needed
    splits: dict[str, str]  # folder of each split; empty if the images are not divided
    num_images: dict[str, int]  # pairs by split, or {"": number of pairs}
    size: tuple[int, int]
    image_max: int | None
    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[Colour] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The number of pairs in all splits."""
        return sum(self.num_images.values())


def survey(images: Path, labels: Path, *, by_colour: bool = False) -> Survey:
    """Return what the two folders of a data set hold.

    Args:
        by_colour: whether labels with a palette are read as colours instead of indices.

    Raises:
        DataError: a folder is missing, images and labels do not pair, a file cannot be read, or labels hold
            too many colours to be classes.
    """
    suffixes, pool = _pair(images, labels)
    ids = sorted(pool.images.keys() & pool.labels)
    splits = _splits(ids)
    counts = Counter(id.split("/")[0] for id in ids) if splits else {"": len(ids)}
    sizes, image_max = _look_at_images(pool.images[id] for id in _spread(ids, _NUM_IMAGES))
    values, colours = _look_at_labels((pool.labels[id] for id in _spread(ids, _NUM_LABELS)), by_colour)
    root = Path(os.path.commonpath([images.absolute(), labels.absolute()]))
    return Survey(
        root=root,
        images=images.absolute().relative_to(root).as_posix(),
        labels=labels.absolute().relative_to(root).as_posix(),
        suffixes=suffixes,
        splits=splits,
        num_images={split: counts[folder] for split, folder in splits.items()} or dict(counts),
        size=tuple(int(side) for side in np.median(sizes, axis=0)),
        image_max=image_max,
        values=values,
        colours=colours,
    )


def _pair(images: Path, labels: Path) -> tuple[dict[str, str], Pool]:
    """Return the keys of suffixes that the files need, and all images and labels by id."""
    spec = FORMATS["folder"]
    suffixes = {"image_suffixes": spec.image_suffixes, "label_suffixes": spec.label_suffixes}
    pool = read_pool(images, labels, **suffixes)
    keys: dict[str, str] = {}
    paired = len(pool.images.keys() & pool.labels)
    if 2 * paired < min(len(pool.images), len(pool.labels)):
        keys = pairing_endings(
            [path.relative_to(images).as_posix() for path in pool.images.values()],
            [path.relative_to(labels).as_posix() for path in pool.labels.values()],
        )
        own = {f"{key}es": (ending,) for key, ending in keys.items()}
        pool = read_pool(images, labels, **suffixes | own, labels_first="label_suffix" in keys)
    if not pool.images.keys() & pool.labels:
        pool.check_pairs()
        raise DataError(pool.problems[0])
    return keys, pool


def _splits(ids: Sequence[str]) -> dict[str, str]:
    """Return the folder of each split if all images lie in folders that are called like splits."""
    folders = {id.split("/")[0] for id in ids if "/" in id}
    if len(folders) < 2 or not all("/" in id for id in ids):
        return {}
    named = {
        split: folder
        for split, known in _SPLIT_NAMES.items()
        for folder in sorted(folders)
        if folder.lower() in known
    }
    return named if len(named) == len(folders) and "train" in named else {}


def _look_at_images(paths: Iterable[Path]) -> tuple[list[tuple[int, int]], int | None]:
    """Return (height, width) of each image, and the largest value if some image has more than 8 bits."""
    sizes, largest = [], None
    for path in paths:
        encoded = path.read_bytes()
        kind = kind_of(encoded)
        if kind is None:
            raise DataError(f"{path} cannot be decoded: expected a JPEG, PNG, BMP, WebP or TIFF. Replace it.")
        try:
            picture = open_picture(encoded, kind)
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        sizes.append(picture.size[::-1])
        if kind == "TIFF" or png_depth(encoded)[0] == 16:
            pixels, _ = decode_with_messages(encoded, cv2.IMREAD_UNCHANGED)
            if pixels is not None and pixels.dtype != np.uint8:
                largest = max(largest or 0, int(pixels.max()))
    return sizes, largest


def _look_at_labels(paths: Iterable[Path], by_colour: bool) -> tuple[Counter[int], Counter[Colour]]:
    """Return the number of pixels of each value, or of each colour if some label has colours."""
    values: Counter[int] = Counter()
    colours: Counter[Colour] = Counter()
    for path in paths:
        try:
            label = read_pixels(path.read_bytes())
        except DataError as error:
            raise DataError(f"{path}: {error}") from None
        pixels = label.values
        if by_colour and label.palette is not None:
            pixels = label.palette[np.minimum(pixels, len(label.palette) - 1)]
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim == 2:
            found, counts = np.unique(pixels, return_counts=True)
            values.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            continue
        codes, counts = np.unique(pixels @ np.array([65536, 256, 1]), return_counts=True)
        named = ((code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist())
        colours.update(dict(zip(named, counts.tolist(), strict=True)))
        if len(colours) > _MAX_COLOURS:
            raise DataError(
                f"{path}: the labels hold more than {_MAX_COLOURS} colours. "
                "Give label maps without smoothing and without JPEG compression."
            )
    if colours:  # black and white labels among coloured ones look grey
        colours.update({(value,) * 3: count for value, count in values.items()})
        values.clear()
    return values, colours


def _spread(items: Sequence[str], number: int) -> list[str]:
    """Return at most `number` of the items, evenly spread."""
    indices = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[index] for index in indices]
