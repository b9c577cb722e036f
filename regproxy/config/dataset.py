"""A data set: where its files lie, and which classes it has."""

from dataclasses import dataclass
from typing import Literal

IGNORE_LABEL = 255  # the train id of pixels that count nowhere


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """A data set: its root folder, format and classes."""

    name: str
    format: Literal["ade20k", "cityscapes", "folder"]
    root: str
    classes: tuple[str, ...]  # names of the train ids 0, 1, ...
    void_labels: tuple[int, ...] = ()  # label values that count nowhere, besides 255 and those of the format
    train_split: str = "train"
    val_split: str = "val"
    allow_partial: bool = False  # accept another number of images than the official one
    absent_classes: tuple[str, ...] = ()  # classes that may have no pixel in the training split

    @property
    def num_classes(self) -> int:
        return len(self.classes)
