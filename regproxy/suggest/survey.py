"""Look at a user's images and labels: how the files pair, what the labels hold, how large the images are."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from regproxy.config.class_tables import Colour
from regproxy.errors import DataError
from regproxy.raw.decoding import decode_with_messages
from regproxy.raw.encoded import kind_of, open_picture, png_depth
from regproxy.raw.folders import text_of
from regproxy.raw.label_files import read_pixels
from regproxy.suggest.pairing import common_root, pair_files
from regproxy.suggest.splits import Splits, find_splits

_NUM_LABELS, _NUM_IMAGES = 500, 500  # files that are read, evenly spread
_MAX_COLOURS = 256


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What was seen.

    `values` and `colours` count pixels of the labels that were read; one of them is empty. `image_range` has
    the smallest and the largest value of images of more than 8 bits, or is None if there are none; it has
    floats if an image has. `size` is the median height and width of images.
    """

    root: Path
    images: str  # folder below the root, like labels
    labels: str
    suffixes: dict[str, str]  # the keys image_suffix and label_suffix, as far as they are needed
    splits: Splits
    size: tuple[int, int]
    image_range: tuple[float, float] | None
    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[Colour] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The number of pairs in all splits."""
        return sum(self.splits.num_images.values())


def survey(images: Path, labels: Path, *, by_colour: bool = False) -> Survey:
    """Return what the two folders of a data set hold.

    Args:
        images, labels: folders. "{split}" in both stands for the name of a split, such as train.
        by_colour: whether labels with a palette are read as colours instead of indices.

    Raises:
        DataError: a folder is missing, images and labels do not pair, a file cannot be read, or labels hold
            too many colours to be classes.
    """
    suffixes, pool = pair_files(images, labels)
    root = common_root(images, labels)
    splits = find_splits(pool, root)
    ids = sorted(pool.images.keys() & pool.labels)
    sizes, image_range = _look_at_images(pool.images[id] for id in _spread(ids, _NUM_IMAGES))
    values, colours = _look_at_labels((pool.labels[id] for id in _spread(ids, _NUM_LABELS)), by_colour)
    return Survey(
        root=root,
        images=images.absolute().relative_to(root).as_posix(),
        labels=labels.absolute().relative_to(root).as_posix(),
        suffixes=suffixes,
        splits=splits,
        size=tuple(int(side) for side in np.median(sizes, axis=0)),
        image_range=image_range,
        values=values,
        colours=colours,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{text_of(path)} cannot be read ({error.strerror}). Correct or remove it.") from None


def _look_at_images(
    paths: Iterable[Path],
) -> tuple[list[tuple[int, int]], tuple[float, float] | None]:
    """Return (height, width) of each image, and the extreme values of those of more than 8 bits."""
    sizes, extremes = [], []
    for path in paths:
        encoded = _read(path)
        kind = kind_of(encoded)
        if kind is None:
            raise DataError(
                f"{text_of(path)} cannot be decoded: expected a JPEG, PNG, BMP, WebP or TIFF. Replace it."
            )
        if kind == "TIFF" or png_depth(encoded)[0] == 16:  # Pillow does not know all kinds of TIFF
            pixels, _ = decode_with_messages(encoded, cv2.IMREAD_UNCHANGED)
            if pixels is not None:
                sizes.append(pixels.shape[:2])
                if pixels.dtype != np.uint8:
                    extremes += [pixels.min().item(), pixels.max().item()]
                continue
        try:
            sizes.append(open_picture(encoded, kind).size[::-1])
        except DataError as error:
            raise DataError(f"{text_of(path)}: {error}") from None
    return sizes, (min(extremes), max(extremes)) if extremes else None


def _look_at_labels(paths: Iterable[Path], by_colour: bool) -> tuple[Counter[int], Counter[Colour]]:
    """Return the number of pixels of each value, or of each colour if some label has colours."""
    values: Counter[int] = Counter()
    colours: Counter[Colour] = Counter()
    for path in paths:
        try:
            label = read_pixels(_read(path))
        except DataError as error:
            raise DataError(f"{text_of(path)}: {error}") from None
        pixels = label.values.astype(np.uint8) if label.values.dtype == np.bool_ else label.values
        if by_colour and label.palette is not None:
            pixels = label.palette[np.minimum(pixels, len(label.palette) - 1)]
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim == 2:
            found, counts = np.unique(pixels, return_counts=True)
            values.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            continue
        if pixels.dtype != np.uint8:
            raise DataError(f"{text_of(path)}: the label has colours of {pixels.dtype}. Save it with 8 bits.")
        codes, counts = np.unique(pixels @ np.array([65536, 256, 1]), return_counts=True)
        named = ((code >> 16, code >> 8 & 255, code & 255) for code in codes.tolist())
        colours.update(dict(zip(named, counts.tolist(), strict=True)))
        if len(colours) > _MAX_COLOURS:
            raise DataError(
                f"{text_of(path)}: the labels hold more than {_MAX_COLOURS} colours. Check that this is a "
                "label and not an image, and save labels without smoothing and JPEG compression."
            )
    if colours:  # black and white labels among coloured ones look grey
        colours.update({(value,) * 3: count for value, count in values.items()})
        values.clear()
    return values, colours


def _spread(items: Sequence[str], number: int) -> list[str]:
    """Return at most `number` of the items, evenly spread."""
    indices = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[index] for index in indices]
