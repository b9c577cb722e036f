"""Find the splits that a user's data set has already: folders such as train and val, or lists of names."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regproxy.config.dataset import DataSettings
from regproxy.errors import DataError
from regproxy.raw.folders import text_of
from regproxy.raw.pool import Pool
from regproxy.raw.splits import hashed_split, listed_id, read_list

NAMES = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
# Folders below the root that may have the lists train.txt and val.txt.
_LIST_FOLDERS = ("ImageSets/Segmentation", "splits", "lists", ".")
_VAL_SHARES = (0.2, 0.3, 0.4, 0.5)  # the first one that gives a validation image is used


@dataclass(frozen=True, kw_only=True)
class Splits:
    """How a data set is divided.

    `places` has the folder or the list of each split, and `num_images` the number of its pairs. Without
    places a share of the pairs, `val_share`, is for validation. `left_out` are folders of no split.
    """

    num_images: dict[str, int]
    places: dict[str, str] = field(default_factory=dict)
    val_share: float | None = None
    left_out: tuple[str, ...] = ()


def find_splits(pool: Pool, root: Path) -> Splits:
    """Return the splits of the pairs below a root folder.

    Raises:
        DataError: images or labels that would be used have no partner, or there are too few pairs.
    """
    ids = sorted(pool.images.keys() & pool.labels)
    places = _split_folders(ids)
    if places:
        counts = Counter(id.split("/")[0] for id in ids)
        left_out = tuple(sorted(counts.keys() - places.values()))
        _check_partners(pool, root, tuple(f"{folder}/" for folder in places.values()))
        found = {split: counts[folder] for split, folder in places.items()}
        return Splits(places=places, num_images=found, left_out=left_out)
    for folder in _LIST_FOLDERS:
        lists = _split_lists(pool, root, root / folder)
        if {"train", "val"} <= lists.keys():
            places = {split: (Path(folder) / f"{split}.txt").as_posix() for split in lists}
            return Splits(places=places, num_images=lists)
    _check_partners(pool, root, ("",))
    for share in _VAL_SHARES:
        settings = DataSettings(root="", val_share=share)
        counts = Counter(hashed_split(id, settings) for id in ids)
        if min(counts["train"], counts["val"]) > 0:
            return Splits(num_images={"train": counts["train"], "val": counts["val"]}, val_share=share)
    raise DataError(
        f"{text_of(pool.image_folder)} has too few images to draw a validation split: {len(ids)}. Give more "
        "images, or divide them into the folders train and val."
    )


def _split_folders(ids: Sequence[str]) -> dict[str, str]:
    """Return the folder of each split if all images lie in folders, and some are called like splits."""
    folders = sorted({id.split("/")[0] for id in ids if "/" in id})
    if not all("/" in id for id in ids):
        return {}
    named = {
        split: next(folder for folder in folders if folder.lower() in known)
        for split, known in NAMES.items()
        if any(folder.lower() in known for folder in folders)
    }
    return named if "train" in named and len(folders) > 1 else {}


def _split_lists(pool: Pool, root: Path, folder: Path) -> dict[str, int]:
    """Return the number of pairs of each list of a folder, as far as all of its lines name a pair."""
    images = pool.image_folder.absolute().relative_to(root).as_posix()
    lists = {}
    for split in NAMES:
        try:
            lines = read_list(folder / f"{split}.txt")
        except DataError:
            continue
        ids = [listed_id(line, pool.images, folder=images, suffixes=pool.image_suffixes) for line in lines]
        if all(id in pool.labels for id in ids):
            lists[split] = len(ids)
    return lists


def _check_partners(pool: Pool, root: Path, prefixes: tuple[str, ...]) -> None:
    """Raise DataError if an image or a label whose id begins with one of the prefixes has no partner."""
    alone = sorted(id for id in pool.images.keys() ^ pool.labels.keys() if id.startswith(prefixes))
    if alone:
        example = text_of((pool.images | pool.labels)[alone[0]])
        raise DataError(
            f"images or labels without a partner of the same name: {len(alone)}, such as {example}. Move "
            f"them away, or list the images to use in train.txt and val.txt in {text_of(root)}."
        )
