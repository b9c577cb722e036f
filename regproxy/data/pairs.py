"""Find the pairs of image and label of a data set on disk, split by split."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regproxy.config.dataset import DataConfig, root_folder
from regproxy.config.formats import FORMATS
from regproxy.errors import DataError
from regproxy.raw.folders import text_of
from regproxy.raw.pool import Pool, read_pool
from regproxy.raw.splits import hashed_split, listed_id, read_list
from regproxy.storage.remote import is_url


@dataclass(frozen=True)
class Pair:
    """An image and its label. The `id` is the path below the folder of the images without the suffix."""

    id: str
    image: Path
    label: Path


@dataclass
class FoundPairs:
    """The pairs of each split, sorted by id; a message for each problem; notes on what was left out."""

    splits: dict[str, list[Pair]]
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_pairs(data: DataConfig, splits: Sequence[str] | None = None) -> FoundPairs:
    """Return the pairs of some splits of a data set, by default all; the problems with its folders; notes.

    Hidden and temporary files are left out. Links to folders are followed, but no folder is read twice.
    """
    splits = data.split_names if splits is None else splits
    found = FoundPairs({split: [] for split in splits})
    if is_url(data.root):
        found.problems.append(
            f"data set {data.name}: root {data.root} is a URL, but raw data is read from a local folder. "
            "Download it and give its folder; for a cluster, run `make upload-data` where the folder is."
        )
        return found
    root = root_folder(data.root)
    images, labels = _folders(data, "{split}")
    if not root.is_dir():
        folders = f"folders {images}/ and {labels}/".replace("/{split}", "")
        found.problems.append(
            f"data set {data.name}: root {root} is missing. Put the {folders} there, or correct root."
        )
        return found
    pools: dict[str, Pool] = {}
    for split in splits:
        place = "" if data.draws_splits else _place(data, split)
        folder = "" if place.endswith(".txt") else place
        new = folder not in pools
        if new:
            pools[folder] = _read(data, root, folder)
        pool = pools[folder]
        if data.draws_splits:
            ids = pool.check_pairs() if new else sorted(pool.images.keys() & pool.labels)
            chosen = [id for id in ids if hashed_split(id, data) == split]
            if ids and not chosen:
                found.problems.append(
                    f"data set {data.name}: split {split} has none of the {len(ids)} images. "
                    "Choose a larger share or fewer folds."
                )
        elif folder:
            chosen = pool.check_pairs()
            _check_count(data, split, folder, pool)
        else:
            chosen = _listed(root, place, pool)
        found.splits[split] = [Pair(id, pool.images[id], pool.labels[id]) for id in sorted(chosen)]
    found.problems += [problem for pool in pools.values() for problem in pool.problems]
    found.problems += _shared_images(data, found.splits)
    found.notes += _notes(data, pools.values())
    return found


def _place(data: DataConfig, split: str) -> str:
    """Return the folder or the list of a split."""
    official = dict(zip(("train", "val"), FORMATS[data.format].splits, strict=True))
    return getattr(data.splits, split) or official[split]


def _folders(data: DataConfig, split_folder: str) -> list[str]:
    """Return the folders of images and labels below the root, for one folder of a split or "" for all."""
    spec = FORMATS[data.format]
    names = (data.images or spec.image_folder, data.labels or spec.label_folder)
    return [
        name.replace("{split}", split_folder) if "{split}" in name else os.path.join(name, split_folder)
        for name in names
    ]


def _read(data: DataConfig, root: Path, split_folder: str) -> Pool:
    spec = FORMATS[data.format]
    image_folder, label_folder = (root / folder for folder in _folders(data, split_folder))
    pool = read_pool(
        image_folder,
        label_folder,
        image_suffixes=(data.image_suffix,) if data.image_suffix else spec.image_suffixes,
        label_suffixes=(data.label_suffix,) if data.label_suffix else spec.label_suffixes,
        labels_first=data.label_suffix is not None,
    )
    same = image_folder.is_dir() and label_folder.is_dir() and image_folder.samefile(label_folder)
    if same and data.image_suffix is None and data.label_suffix is None:
        pool.problems = [
            f"{text_of(image_folder)} has both images and labels: set label_suffix, such as _mask.png, "
            "to tell them apart."
        ]
    return pool


def _check_count(data: DataConfig, split: str, folder: str, pool: Pool) -> None:
    counts = dict(zip(("train", "val"), FORMATS[data.format].expected or (), strict=False))
    expected = None if data.allow_partial else counts.get(split)
    if pool.images and expected not in (None, len(pool.images)):
        pool.problems.append(
            f"data set {data.name}: {folder} is incomplete: expected {expected:,} {data.format} images; "
            f"got {len(pool.images):,}. Complete it or set allow_partial: true in the profile."
        )


def _listed(root: Path, place: str, pool: Pool) -> list[str]:
    """Return the ids of a list that have an image and a label; add a problem for the others."""
    try:
        lines = read_list(root / place)
    except DataError as error:
        pool.problems.append(str(error))
        return []
    folder = Path(os.path.relpath(pool.image_folder, root)).as_posix()
    ids = {line: listed_id(line, pool.images, folder=folder, suffixes=pool.image_suffixes) for line in lines}
    unknown = [line for line in lines if ids[line] is None]
    if unknown and pool.images:
        pool.problems.append(
            f"{text_of(root / place)} names {len(unknown)} images that are not in "
            f"{text_of(pool.image_folder)}, such as {unknown[0]!r}. Correct the list."
        )
    return pool.check_labels(dict.fromkeys(id for id in ids.values() if id is not None))


def _shared_images(data: DataConfig, splits: dict[str, list[Pair]]) -> list[str]:
    """Return a message for each two splits that have an image in common, by another name or link too."""
    folders: dict[Path, str] = {}
    first: dict[tuple[str, str], str] = {}
    shared: dict[tuple[str, str], list[Path]] = {}
    for split, pairs in splits.items():
        for pair in pairs:
            parent = pair.image.parent
            if parent not in folders:
                folders[parent] = os.path.realpath(parent)
            other = first.setdefault((folders[parent], pair.image.name), split)
            if other != split:
                shared.setdefault((other, split), []).append(pair.image)
    return [
        f"data set {data.name}: splits {one} and {two} have {len(images)} images in common, such as "
        f"{text_of(images[0])}. Give each split images of its own."
        for (one, two), images in shared.items()
    ]


def _notes(data: DataConfig, pools: Iterable[Pool]) -> list[str]:
    """Return one line for the hidden files and one for the repeated folders that were left out."""
    listings = [listing for pool in pools for listing in pool.listings]
    notes = []
    for what, paths in (
        ("hidden or temporary files and folders", [p for listing in listings for p in listing.left_out]),
        ("links to folders that are read already", [p for listing in listings for p in listing.repeated]),
    ):
        if paths:
            notes.append(f"{data.name}: left out {len(paths)} {what}, such as {text_of(paths[0])}")
    return notes
