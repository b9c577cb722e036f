"""Data set formats: folder layout, class names, colours, and the meaning of each label value."""

from collections.abc import Sequence
from dataclasses import dataclass

from regproxy.config.class_tables import CITYSCAPES, Colour, ade20k_classes
from regproxy.config.parse import choose
from regproxy.config.variant import IGNORE_LABEL
from regproxy.errors import ConfigError

SPLITS = ("train", "val")  # our names of the splits; folders may be called differently


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What a format fixes. `<image_folder>/<split>/<id><suffix>` is the image of the label with this id."""

    classes: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()
    values: dict[int, int]  # from label value on disk to train id (index into `classes`) or IGNORE_LABEL
    splits: tuple[str, str]  # folder names of train and val
    expected: tuple[int, int] | None = None  # number of images in train and val
    image_folder: str = "images"
    label_folder: str = "annotations"
    image_suffixes: tuple[str, ...]
    label_suffix: str = ".png"


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
    """Return the class names to train on, in the order of the train ids.

    Args:
        format: a key of FORMATS.
        classes: names that the user chose, or None for all that the format defines.
        where: path of the setting for messages.

    Raises:
        ConfigError: names are missing, repeated, too many or unknown to the format.
    """
    official = FORMATS[choose(format, FORMATS, f"{where}.format")].classes
    if not classes:
        if classes is None and official:
            return official
        raise ConfigError(
            f"{where}.classes is missing: for format {format}, list the names of train ids 0, 1, ..."
        )
    repeated = sorted({name for name in classes if list(classes).count(name) > 1})
    if repeated:
        raise ConfigError(f"{where}.classes repeats {', '.join(repeated)}: write each name once")
    if len(classes) > IGNORE_LABEL:
        raise ConfigError(
            f"{where}.classes is invalid: expected at most {IGNORE_LABEL} names; got {len(classes)}"
        )
    if official:
        for name in classes:
            choose(name, official, f"{where}.classes")
    return tuple(classes)
