"""Find the pairs of image and label of a data set on disk, and map label values to train ids."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import FORMATS, SPLITS
from regproxy.config.parse import choose
from regproxy.storage.remote import is_url


@dataclass(frozen=True)
class Pair:
    """An image and its label. The `id` is the path below the split's folder without the suffix."""

    id: str
    image: Path
    label: Path


def find_pairs(data: DataConfig, split: Literal["train", "val"]) -> tuple[list[Pair], list[str]]:
    """Return the pairs of a split, sorted by id, and one message for each problem with the folders."""
    spec = FORMATS[data.format]
    split_index = SPLITS.index(choose(split, SPLITS, f"data set {data.name}: split"))
    folder = (data.train_split, data.val_split)[split_index]
    root = Path(data.root)
    if is_url(data.root):
        return [], [
            f"data set {data.name}: root {data.root} is a URL, but raw data is read from a local folder. "
            f"Download it and give its folder; for a cluster, run `make upload-data` where the folder is."
        ]
    if not root.is_dir():
        folders = f"{data.format} folders {spec.image_folder}/ and {spec.label_folder}/"
        return [], [f"data set {data.name}: root {root} is missing. Put the {folders} there."]
    image_folder, label_folder = (root / name / folder for name in (spec.image_folder, spec.label_folder))
    images, problems = _files(image_folder, spec.image_suffixes, "images")
    labels, label_problems = _files(label_folder, (spec.label_suffix,), "labels")
    problems += label_problems
    if not problems:
        for key in sorted(images.keys() - labels):
            problems.append(f"{images[key]} has no label: expected {label_folder / key}{spec.label_suffix}.")
        for key in sorted(labels.keys() - images):
            problems.append(f"{labels[key]} has no image of the same name in {image_folder}.")
    pairs = [Pair(key, images[key], labels[key]) for key in sorted(images.keys() & labels)]
    expected = spec.expected[split_index] if spec.expected and not data.allow_partial else len(images)
    if images and len(images) != expected:
        problems.append(
            f"data set {data.name}: {folder} is incomplete: expected {expected:,} {data.format} images; "
            f"got {len(images):,}. Complete it or set allow_partial: true in the profile."
        )
    return pairs, problems


def _files(folder: Path, suffixes: tuple[str, ...], what: str) -> tuple[dict[str, Path], list[str]]:
    """Return the files below a folder by id, and messages about a missing folder, no files or equal ids."""
    remedy = f"Put the {what} ({', '.join('*' + suffix for suffix in suffixes)}) there."
    if not folder.is_dir():
        return {}, [f"{folder} is missing. {remedy}"]
    found: dict[str, Path] = {}
    problems = []
    walk = os.walk(folder, followlinks=True)
    for parent, name in sorted((parent, name) for parent, _, names in walk for name in names):
        suffix = next((end for end in suffixes if name.lower().endswith(end.lower())), None)
        if suffix is None or name.startswith("."):
            continue
        path = Path(parent, name)
        key = path.relative_to(folder).as_posix()[: -len(suffix)]
        if key in found:
            problems.append(f"{path} and {found[key]} have the same id {key!r}. Keep one of them.")
        found.setdefault(key, path)
    if not found:
        problems.append(f"{folder} has no {what}. {remedy}")
    return found, problems
