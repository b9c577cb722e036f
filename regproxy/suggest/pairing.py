"""Pair the images and labels of a user's data set, whose names and folders nobody has described yet."""

import os
from pathlib import Path

from regproxy.config.formats import FORMATS
from regproxy.errors import DataError
from regproxy.raw.endings import ending_of, endings_in_one_folder, pairing_endings
from regproxy.raw.folders import list_files, text_of
from regproxy.raw.pool import Pool, read_pool
from regproxy.suggest.splits import NAMES

_SPLIT = "{split}"


def common_root(images: Path, labels: Path) -> Path:
    """Return the absolute folder that holds the folders of images and labels, without a part {split}."""
    root = Path(os.path.commonpath([images.absolute(), labels.absolute()]))
    return next(folder for folder in (root, *root.parents) if _SPLIT not in str(folder))


def pair_files(images: Path, labels: Path) -> tuple[dict[str, str], Pool]:
    """Return the keys of suffixes that the files need, and all images and labels by id.

    Args:
        images, labels: folders. If both have {split}, the ids begin with the name of the split's folder.

    Raises:
        DataError: a folder is missing, or images and labels do not pair.
    """
    if _SPLIT not in str(images) or _SPLIT not in str(labels):
        return _pair_folders(images, labels)
    keys: dict[str, str] = {}
    spec = FORMATS["folder"]
    merged = Pool(images, labels, spec.image_suffixes, spec.label_suffixes)
    for names in NAMES.values():
        for name in (name for known in names for name in (known, known.title())):
            folders = [Path(str(folder).replace(_SPLIT, name)) for folder in (images, labels)]
            if not all(folder.is_dir() for folder in folders):
                continue
            found, pool = _pair_folders(*folders)
            if merged.images and found != keys:
                raise DataError(
                    f"the names of the files in {name} end in another way than in the other splits: "
                    f"{found or 'equal'} and {keys or 'equal'}. Rename them."
                )
            keys = found
            merged.images |= {f"{name}/{id}": path for id, path in pool.images.items()}
            merged.labels |= {f"{name}/{id}": path for id, path in pool.labels.items()}
            break
    if len({id.split("/")[0] for id in merged.images}) < 2:
        raise DataError(
            f"{text_of(images)} and {text_of(labels)} exist for fewer than two splits: expected folders such "
            "as train and val in the place of {split}. Correct the folders."
        )
    return keys, merged


def _pair_folders(images: Path, labels: Path) -> tuple[dict[str, str], Pool]:
    spec = FORMATS["folder"]
    suffixes = {"image_suffixes": spec.image_suffixes, "label_suffixes": spec.label_suffixes}
    keys: dict[str, str] = {}
    pool = read_pool(images, labels, **suffixes)
    if images.is_dir() and labels.is_dir() and images.samefile(labels):
        keys = _endings_in_one_folder(images)
    elif 2 * len(pool.images.keys() & pool.labels) < min(len(pool.images), len(pool.labels)):
        keys = pairing_endings(
            [path.relative_to(images).as_posix() for path in pool.images.values()],
            [path.relative_to(labels).as_posix() for path in pool.labels.values()],
        )
    if keys:
        own = {f"{key}es": (ending,) for key, ending in keys.items()}
        pool = read_pool(images, labels, **suffixes | own, labels_first="label_suffix" in keys)
    if not pool.images.keys() & pool.labels:
        pool.check_pairs()
    if pool.problems:
        raise DataError(pool.problems[0])
    return keys, pool


def _endings_in_one_folder(folder: Path) -> dict[str, str]:
    """Return the endings of images and labels in one folder; raise DataError if nothing tells them apart."""
    spec = FORMATS["folder"]
    files = [path for path in list_files(folder).files if ending_of(path.name, spec.image_suffixes)]
    names = [path.relative_to(folder).as_posix() for path in files]
    keys = endings_in_one_folder(names, spec.label_suffixes)
    if not keys:
        raise DataError(
            f"{text_of(folder)} is the folder of images and of labels, but nothing in the names of its "
            f"{len(names)} pictures tells them apart. Let the names of the labels end in _mask.png, or give "
            "the labels a folder of their own; {split} in both folders stands for train, val and test."
        )
    return keys
