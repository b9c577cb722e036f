"""A data set: where its files are, which classes it has, and how files are read."""

import dataclasses
import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from regproxy.config.class_tables import Colour
from regproxy.config.parse import check_range
from regproxy.errors import ConfigError

IGNORE_LABEL = 255  # the train id of pixels that count nowhere
MAX_VALUE = 65_535  # the largest label value: label maps have at most 16 bits


@dataclass(frozen=True, kw_only=True)
class Splits:
    """Where the files of each split are: the name of a folder, or the path of a list that ends in .txt.

    A folder is below those of images and labels. A list is below the root and has the id or the file name of
    one image in each line. None is the folder of the format; without `test` there is no test split.
    """

    train: str | None = None
    val: str | None = None
    test: str | None = None

    def __post_init__(self) -> None:
        named = [place for place in (self.train, self.val, self.test) if place is not None]
        if "" in named:
            raise ConfigError("splits has an empty name: write a folder, or a list that ends in .txt")
        twice = [place for place, count in Counter(named).items() if count > 1]
        if twice:
            raise ConfigError(f"splits names {twice[0]!r} twice: each split needs files of its own")


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """The keys of a data set that mean the same in a profile's file and after resolving.

    `images` and `labels` are folders below the root; "{split}" in them becomes the folder of the split.
    The splits are those of `splits`, or a hash of each id draws them: either shares (`val_share`,
    `test_share`) or `folds`, of which `fold` is for validation. None is the format's default.
    """

    root: str  # may contain ~ and environment variables, see `root_folder`
    void_labels: tuple[int, ...] = ()  # label values that count nowhere, besides those of the format
    void_colours: tuple[Colour, ...] = ()  # colours of labels that count nowhere
    images: str | None = None
    labels: str | None = None
    image_suffix: str | None = None  # what follows the id in a file's name, such as "_leftImg8bit.png"
    label_suffix: str | None = None
    splits: Splits = Splits()
    val_share: float | None = None
    test_share: float | None = None
    folds: int | None = None
    fold: int | None = None
    image_range: tuple[float, float] | None = None  # values of 16-bit and float images that become 0 and 255
    exif: Literal["ignore", "apply"] | None = None  # EXIF orientation; None: the label's size decides
    allow_partial: bool = False  # accept another number of images than the official one

    def __post_init__(self) -> None:
        check_range(self, "void_labels", low=0, high=MAX_VALUE)
        for colour in self.void_colours:
            check_colour(colour, "void_colours")
        for name in ("image_suffix", "label_suffix"):
            suffix = getattr(self, name)
            if suffix is not None and not re.search(r"\.\w+$", suffix):
                raise ConfigError(f'{name} is invalid: expected an ending such as "_L.png"; got {suffix!r}')
        if self.label_suffix is not None and self.label_suffix.lower().endswith((".jpg", ".jpeg")):
            raise ConfigError("label_suffix is of JPEG files, which change label values: save labels as PNG")
        if self.image_range is not None and not self.image_range[0] < self.image_range[1]:
            got = list(self.image_range)
            raise ConfigError(f"image_range is invalid: expected [low, high] with low < high; got {got}")
        check_range(self, "image_range", low=-1e38, high=1e38)
        self._check_splits()

    @property
    def split_names(self) -> tuple[str, ...]:
        """Our names of the splits that the data set has, in the order of `SPLITS`."""
        has_test = self.splits.test is not None or self.test_share is not None
        return ("train", "val", "test") if has_test else ("train", "val")

    @property
    def draws_splits(self) -> bool:
        """Whether a hash of each id draws its split."""
        return self.val_share is not None or self.folds is not None

    def _check_splits(self) -> None:
        ways = {
            "splits": self.splits != Splits(),
            "val_share": self.val_share is not None or self.test_share is not None,
            "folds": self.folds is not None or self.fold is not None,
        }
        chosen = [name for name, used in ways.items() if used]
        if len(chosen) > 1:
            raise ConfigError(f"{' and '.join(chosen)} exclude each other: keep one of them")
        lists = [place for place in dataclasses.astuple(self.splits) if place and place.endswith(".txt")]
        if "{split}" in f"{self.images}{self.labels}" and (lists or len(chosen) > ways["splits"]):
            raise ConfigError(
                '"{split}" in images or labels needs a folder for each split: name them in splits'
            )
        check_range(self, "val_share", "test_share", low=0, high=1, above=True)
        if "val_share" in chosen:
            if self.val_share is None:
                raise ConfigError("test_share needs val_share: add the share of the validation images")
            total = self.val_share + (self.test_share or 0)
            if total >= 1:
                raise ConfigError(
                    f"val_share and test_share leave no training images: their sum is {total:g}"
                )
        if "folds" in chosen:
            if self.folds is None or self.fold is None:
                raise ConfigError("folds and fold belong together: write both, such as folds: 5 and fold: 0")
            check_range(self, "folds", low=2)
            check_range(self, "fold", low=0, high=self.folds - 1)


@dataclass(frozen=True, kw_only=True)
class DataConfig(DataSettings):
    """A resolved data set. `values` and `colours` have one entry for each class, or none at all."""

    name: str
    format: Literal["ade20k", "cityscapes", "folder"]
    classes: tuple[str, ...]  # names of the train ids 0, 1, ...
    values: tuple[tuple[int, ...], ...] = ()  # label values of each class; none: the format's, or train ids
    colours: tuple[tuple[Colour, ...], ...] = ()  # of each class in labels; the first one is also shown

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("values", "colours"):
            entries = getattr(self, name)
            if entries and len(entries) != len(self.classes):
                raise ConfigError(
                    f"{name} is invalid: expected an entry for each of {len(self.classes)} classes"
                )
        for value in (value for values in self.values for value in values):
            if not 0 <= value <= MAX_VALUE:
                raise ConfigError(f"values is invalid: expected 0..{MAX_VALUE}; got {value}")
        for colour in (colour for colours in self.colours for colour in colours):
            check_colour(colour, "colours")
        values = self.values or tuple((index,) for index in range(len(self.classes)))
        if self.format == "folder":
            self._check_unique(values, self.void_labels, "label value", "void_labels")
            self._check_unique(self.colours, self.void_colours, "colour", "void_colours")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    def _check_unique(self, of_classes: tuple[tuple, ...], void: tuple, what: str, void_key: str) -> None:
        """Raise ConfigError if two classes share a label value or a colour, or if it is also void."""
        owners: dict[object, str] = {}
        for name, entries in zip(self.classes, of_classes, strict=False):
            for entry in entries:
                shown = list(entry) if isinstance(entry, tuple) else entry
                if owners.setdefault(entry, name) != name or entries.count(entry) > 1:
                    raise ConfigError(
                        f"{what} {shown} is given twice, for {owners[entry]!r} and {name!r}: "
                        "give it to one class, once"
                    )
        for entry in void:
            if entry in owners:
                shown = list(entry) if isinstance(entry, tuple) else entry
                raise ConfigError(
                    f"{what} {shown} is void and also of class {owners[entry]!r}: "
                    f"remove it from {void_key} or from the class"
                )


def check_colour(colour: Colour, where: str) -> None:
    """Raise ConfigError unless each channel of an RGB colour is in 0..255."""
    if not all(0 <= channel <= 255 for channel in colour):
        raise ConfigError(f"{where} is invalid: expected [R, G, B] of 0..255; got {list(colour)}")


def root_folder(root: str) -> Path:
    """Return the folder that a `root` names, with ~ and environment variables such as $DATA expanded.

    Raises:
        ConfigError: a variable is not set.
    """
    expanded = os.path.expandvars(root)
    unset = re.search(r"\$(\w+|\{\w+\})", expanded)
    if unset and not Path(expanded).expanduser().exists():
        raise ConfigError(f"root {root}: the environment variable {unset[1].strip('{}')} is not set. Set it.")
    return Path(os.path.expanduser(expanded))
