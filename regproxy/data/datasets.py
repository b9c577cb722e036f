"""Data sets as they lie on disk: folders, class names, colours and what each label value means."""

import colorsys
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from regproxy.config import IGNORE_LABEL, DataConfig
from regproxy.data.class_tables import CITYSCAPES, Colour, ade20k_classes
from regproxy.parse import ConfigError, choose

SPLITS = ("train", "val")  # what the two splits are called wherever the folder's own name does not matter


class DataError(ValueError):
    """Data that cannot be used; the message says which, what is allowed and what to do."""


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What a format fixes. An image `<image_folder>/<split>/<id><suffix>` pairs with the label of that id."""

    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    values: dict[int, int]  # label value on disk -> train id in `classes`, or IGNORE_LABEL
    splits: tuple[str, str]  # folder names of train and val
    expected: tuple[int, int] | None = None  # images in train and val
    image_folder: str = "images"
    label_folder: str = "annotations"
    image_suffixes: tuple[str, ...]
    label_suffix: str = ".png"


@dataclass(frozen=True)
class Pair:
    """An image and its label; `id` is the path below the split's folder without the suffix."""

    id: str
    image: Path
    label: Path


def _ade20k() -> DatasetSpec:
    names, colours = zip(*ade20k_classes(), strict=True)
    return DatasetSpec(
        classes=names,
        palette=colours,
        values={0: IGNORE_LABEL} | {index + 1: index for index in range(len(names))},
        splits=("training", "validation"),
        expected=(20_210, 2_000),
        image_suffixes=(".jpg",),
    )


def _cityscapes() -> DatasetSpec:
    ids, names, colours = zip(*CITYSCAPES, strict=True)
    void = {value: IGNORE_LABEL for value in range(34)}
    return DatasetSpec(
        classes=names,
        palette=colours,
        # The licence plate's id -1 is stored as 255.
        values=void | {IGNORE_LABEL: IGNORE_LABEL} | {value: index for index, value in enumerate(ids)},
        splits=("train", "val"),
        expected=(2_975, 500),
        image_folder="leftImg8bit",
        label_folder="gtFine",
        image_suffixes=("_leftImg8bit.png",),
        label_suffix="_gtFine_labelIds.png",
    )


FORMATS: dict[str, DatasetSpec] = {
    "ade20k": _ade20k(),
    "cityscapes": _cityscapes(),
    "folder": DatasetSpec(values={}, splits=("train", "val"), image_suffixes=(".jpg", ".jpeg", ".png")),
}


def resolve_classes(format: str, classes: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """Returns the class names to train on, in the order of the train ids.

    Args:
        format: a key of FORMATS.
        classes: names the user chose; None takes all that the format defines.
        where: path of the setting for messages.

    Raises:
        ConfigError: names missing, repeated, too many or unknown to the format.
    """
    official = FORMATS[choose(format, FORMATS, f"{where}.format")].classes
    if not classes:
        if classes is None and official:
            return official
        raise ConfigError(
            f"{where}: format {format} needs classes, list the names of the train ids 0, 1, ..."
        )
    repeated = sorted({name for name in classes if list(classes).count(name) > 1})
    if repeated:
        raise ConfigError(f"{where}.classes: {', '.join(repeated)} repeated, each name may stand once")
    if len(classes) > IGNORE_LABEL:
        raise ConfigError(f"{where}.classes: {len(classes)} names, at most {IGNORE_LABEL} fit an 8-bit label")
    if official:
        for name in classes:
            choose(name, official, f"{where}.classes")
    return tuple(classes)


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
