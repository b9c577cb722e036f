"""Look at a user's images and labels: how the files pair, what the labels hold, how large the images are."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from regproxy.config.formats import FORMATS, LABEL_SUFFIXES
from regproxy.errors import DataError

_SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_NUM_LABELS, _NUM_IMAGES = 500, 50  # files that are read, evenly spread
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
    label_suffix: str  # what follows the image's name in the name of its label
    splits: dict[str, str]  # folder of each split; empty if the images are not divided
    num_images: dict[str, int]  # pairs by split, or {"": number of pairs}
    size: tuple[int, int]
    image_max: int | None
    values: Counter[int] = field(default_factory=Counter)
    colours: Counter[tuple[int, int, int]] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """The number of pairs in all splits."""
        return sum(self.num_images.values())


def survey(images: Path, labels: Path) -> Survey:
    """Return what the two folders of a data set hold.

    Raises:
        DataError: a folder is missing, images and labels do not pair, a label cannot be read, or labels hold
            too many colours to be classes.
    """
    for folder in (images, labels):
        if not folder.is_dir():
            raise DataError(f"{folder} is missing. Give the folders of the images and of the labels.")
    suffix, pairs = _pair(images, labels)
    splits = _splits(pairs)
    counts = Counter(name.parts[0] for name in pairs) if splits else Counter({"": len(pairs)})
    sizes, image_max = _look_at_images([pairs[name][0] for name in _spread(sorted(pairs), _NUM_IMAGES)])
    values, colours = _look_at_labels([pairs[name][1] for name in _spread(sorted(pairs), _NUM_LABELS)])
    root = Path(os.path.commonpath([images.absolute(), labels.absolute()]))
    return Survey(
        root=root,
        images=_below(images, root),
        labels=_below(labels, root),
        label_suffix=suffix,
        splits=splits,
        num_images={split: counts[folder] for split, folder in splits.items()} or dict(counts),
        size=tuple(int(side) for side in np.median(sizes, axis=0)),
        image_max=image_max,
        values=values,
        colours=colours,
    )


def _pair(images: Path, labels: Path) -> tuple[str, dict[PurePosixPath, tuple[Path, Path]]]:
    """Return what label names have after an image's name, and (image, label) by path without suffix."""
    same_folder = images.resolve() == labels.resolve()
    pictures = {
        path.relative_to(images).with_suffix(""): path
        for path in _files(images, FORMATS["folder"].image_suffixes)
    }
    masks = [path.relative_to(labels) for path in _files(labels, LABEL_SUFFIXES)]
    candidates: Counter[str] = Counter()
    for mask in masks:
        for length in range(len(mask.stem), 0, -1):
            if mask.with_name(mask.name[:length]) in pictures:
                candidates[mask.name[length:]] += not (same_folder and length == len(mask.stem))
                break
    if not candidates.total():
        shown = (
            f"{next(iter(pictures.values()), 'no image')} and {labels / masks[0] if masks else 'no label'}"
        )
        raise DataError(f"images and labels do not pair: found {shown}. Give a label the name of its image.")
    suffix = candidates.most_common(1)[0][0]
    endings = (suffix,) if suffix.lower() not in LABEL_SUFFIXES else tuple(candidates)
    pairs = {}
    for mask in masks:
        for ending in endings:
            name = mask.with_name(mask.name.removesuffix(ending))
            if mask.name.endswith(ending) and name in pictures:
                pairs[PurePosixPath(name)] = (pictures[name], labels / mask)
    return "" if suffix.lower() in LABEL_SUFFIXES else suffix, pairs


def _files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.suffix.lower() in suffixes]


def _splits(pairs: dict[PurePosixPath, tuple[Path, Path]]) -> dict[str, str]:
    """Return the folder of each split if all images lie in folders that are called like splits."""
    folders = {name.parts[0] for name in pairs if len(name.parts) > 1}
    if len(folders) < 2 or any(len(name.parts) == 1 for name in pairs):
        return {}
    named = {
        split: folder
        for split, known in _SPLIT_NAMES.items()
        for folder in sorted(folders)
        if folder.lower() in known
    }
    return named if len(named) == len(folders) and "train" in named else {}


def _look_at_images(paths: Sequence[Path]) -> tuple[list[tuple[int, int]], int | None]:
    """Return (height, width) of each image, and the largest value if some image has more than 8 bits."""
    sizes, largest = [], None
    for path in paths:
        with _opened(path) as picture:
            sizes.append(picture.size[::-1])
            if picture.mode.startswith("I") or picture.mode == "F":
                largest = max(largest or 0, int(np.asarray(picture).max()))
    return sizes, largest


def _look_at_labels(paths: Sequence[Path]) -> tuple[Counter[int], Counter[tuple[int, int, int]]]:
    """Return the number of pixels of each value, or of each colour if some label has colours."""
    values: Counter[int] = Counter()
    colours: Counter[tuple[int, int, int]] = Counter()
    for path in paths:
        with _opened(path) as picture:
            pixels = np.asarray(picture.convert("RGB") if picture.mode in ("RGBA", "CMYK") else picture)
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        if pixels.ndim == 2:
            counts = np.bincount(pixels.ravel())
            values.update({int(value): int(counts[value]) for value in np.flatnonzero(counts)})
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


def _spread(items: Sequence[PurePosixPath], number: int) -> list[PurePosixPath]:
    """Return at most `number` of the items, evenly spread."""
    indices = np.linspace(0, len(items) - 1, min(number, len(items))).round().astype(int)
    return [items[index] for index in indices]


def _opened(path: Path) -> Image.Image:
    try:
        return Image.open(path)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} cannot be read ({error}). Replace it.") from None


def _below(folder: Path, root: Path) -> str:
    return folder.absolute().relative_to(root).as_posix()
