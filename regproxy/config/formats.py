"""Data set formats: folder layout, class names, colours, and the meaning of each label value."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from regproxy.config.class_tables import ADE20K, CITYSCAPES, CITYSCAPES_VALUES, Colour
from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.parse import choose
from regproxy.errors import ConfigError

SPLITS = ("train", "val", "test")  # our names of the splits; the test split is optional
LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What a format fixes. `<image_folder>/<split>/<id><suffix>` is the image of the label with this id."""

    title: str | None = None  # the published name of the data set
    palette: dict[str, Colour] = field(default_factory=dict)  # by class name, in the order of the train ids
    values: dict[int, str | None] = field(default_factory=dict)  # class of each label value, None for void
    splits: tuple[str, str] = ("train", "val")  # folder names of train and val
    expected: tuple[int, int] | None = None  # number of images in train and val
    image_folder: str = "images"
    label_folder: str = "annotations"
    image_suffixes: tuple[str, ...]
    label_suffixes: tuple[str, ...] = (".png",)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the official class names in the order of the train ids; none for a user's own."""
        return tuple(self.palette)


FORMATS: dict[str, DatasetSpec] = {
    "ade20k": DatasetSpec(
        title="ADE20K",
        palette=ADE20K,
        values={0: None} | dict(enumerate(ADE20K, start=1)),
        splits=("training", "validation"),
        expected=(20_210, 2_000),
        image_suffixes=(".jpg",),
    ),
    "cityscapes": DatasetSpec(
        title="Cityscapes",
        palette=CITYSCAPES,
        # The licence plate's id -1 is stored as 255.
        values=dict.fromkeys((*range(34), 255)) | dict(zip(CITYSCAPES_VALUES, CITYSCAPES, strict=True)),
        expected=(2_975, 500),
        image_folder="leftImg8bit",
        label_folder="gtFine",
        image_suffixes=("_leftImg8bit.png",),
        label_suffixes=("_gtFine_labelIds.png",),
    ),
    "folder": DatasetSpec(
        image_suffixes=(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"),
        label_suffixes=LABEL_SUFFIXES,
    ),
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
            f"{where}.classes is missing: for format {format}, list the names of train ids 0, 1, ..., "
            "or name the classes in values or colours"
        )
    unfit = [name for name in classes if not name.strip() or re.search(r"[\x00-\x1f\x7f]", name)]
    if unfit:
        raise ConfigError(f"{where}.classes is invalid: expected names of one line of text; got {unfit[0]!r}")
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
