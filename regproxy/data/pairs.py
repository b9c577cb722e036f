"""Find the image and label pairs of a data set on disk, and translate label values to train ids."""

import colorsys
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from regproxy.config.class_tables import Colour
from regproxy.config.formats import FORMATS, SPLITS
from regproxy.config.parse import choose
from regproxy.config.variant import IGNORE_LABEL, DataConfig
from regproxy.errors import ConfigError


@dataclass(frozen=True)
class Pair:
    """An image and its label; `id` is the path below the split's folder without the suffix."""

    id: str
    image: Path
    label: Path


def label_table(data: DataConfig) -> np.ndarray:
    """Maps label values on disk to train ids: int16 (256,), IGNORE_LABEL for void, -1 for unknown values.

    Classes of the format that `data.classes` leaves out are void.

    Raises:
        ConfigError: a void label outside 0..255, or one that is a class of a folder data set.
    """
    spec = FORMATS[data.format]
    table = np.full(256, -1, np.int16)
    if spec.classes:
        chosen = {name: index for index, name in enumerate(data.classes)}
        for value, index in spec.values.items():
            known = index != IGNORE_LABEL
            table[value] = chosen.get(spec.classes[index], IGNORE_LABEL) if known else IGNORE_LABEL
    else:
        table[: data.num_classes] = np.arange(data.num_classes)
        table[IGNORE_LABEL] = IGNORE_LABEL
    for value in data.void_labels:
        if not 0 <= value <= 255:
            raise ConfigError(f"data set {data.name}: void label {value} is not in 0..255, correct it")
        if not spec.classes and value < data.num_classes:
            raise ConfigError(
                f"data set {data.name}: void label {value} is also the value of class "
                f"{data.classes[value]!r}, take it out of void_labels or renumber the labels"
            )
        table[value] = IGNORE_LABEL
    return table


def palette(data: DataConfig) -> np.ndarray:
    """Returns the classes' colours, uint8 (K, 3) RGB: official ones, or generated for a folder data set."""
    spec = FORMATS[data.format]
    if spec.classes:
        colours = dict(zip(spec.classes, spec.palette, strict=True))
        return np.array([colours[name] for name in data.classes], np.uint8)
    return np.array([_generated_colour(index) for index in range(data.num_classes)], np.uint8)


def _generated_colour(index: int) -> Colour:
    # Golden-ratio steps keep neighbouring ids far apart in hue, however many classes there are.
    hue = (0.58 + index * 0.61803399) % 1
    saturation, value = ((0.62, 0.88), (0.80, 0.62), (0.42, 0.96))[index % 3]
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def find_pairs(data: DataConfig, split: Literal["train", "val"]) -> tuple[list[Pair], list[str]]:
    """Lists the pairs of a split, sorted by id, and what is wrong with the folders, a sentence each."""
    spec = FORMATS[data.format]
    position = SPLITS.index(choose(split, SPLITS, f"data set {data.name}: split"))
    folder = (data.train_split, data.val_split)[position]
    root = Path(data.root)
    if not root.is_dir():
        content = f"{spec.image_folder}/ and {spec.label_folder}/"
        return [], [
            f"data set {data.name}: root {root} is missing, put the {data.format} folders {content} there"
        ]
    images, problems = _files(root / spec.image_folder / folder, spec.image_suffixes, "images")
    labels, more = _files(root / spec.label_folder / folder, (spec.label_suffix,), "labels")
    problems += more
    if not problems:
        only_images, only_labels = sorted(images.keys() - labels), sorted(labels.keys() - images)
        label_root = root / spec.label_folder / folder
        for key in only_images:
            problems.append(f"{images[key]}: no label, expected {label_root / key}{spec.label_suffix}")
        for key in only_labels:
            problems.append(
                f"{labels[key]}: no image of the same name in {root / spec.image_folder / folder}"
            )
    pairs = [Pair(key, images[key], labels[key]) for key in sorted(images.keys() & labels)]
    if spec.expected and not data.allow_partial and images and len(images) != spec.expected[position]:
        problems.append(
            f"data set {data.name}: {folder} has {len(images):,} images, {data.format} officially has "
            f"{spec.expected[position]:,}; complete it or set allow_partial: true in the profile"
        )
    return pairs, problems


def _files(folder: Path, suffixes: tuple[str, ...], what: str) -> tuple[dict[str, Path], list[str]]:
    """Returns the files below a folder by id, and problems: no folder, no files, one id twice."""
    expected = f"put the {what} ({', '.join('*' + suffix for suffix in suffixes)}) there"
    if not folder.is_dir():
        return {}, [f"{folder} is missing, {expected}"]
    found: dict[str, Path] = {}
    problems = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            suffix = next((end for end in suffixes if name.lower().endswith(end.lower())), None)
            if suffix is None or name.startswith("."):
                continue
            path = Path(parent, name)
            key = path.relative_to(folder).as_posix()[: -len(suffix)]
            if key in found:
                problems.append(f"{path} and {found[key]} are the same id {key!r}, keep one of them")
            found.setdefault(key, path)
    if not found:
        problems.append(f"{folder} has no {what}, {expected}")
    return found, problems
