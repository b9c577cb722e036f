"""Counts of a data set's splits: images, sizes, and the pixels of every class and label value."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from regproxy.config.dataset import IGNORE_LABEL, DataConfig
from regproxy.data.shards import MANIFEST, read_manifest

_EXACT = 2**24  # float32 holds all smaller integers


@dataclass
class SplitCounts:
    """The counts of one split, in any order of its labels. A label in colours has no values on disk."""

    images: int = 0
    widths: set[int] = field(default_factory=set)
    heights: set[int] = field(default_factory=set)
    values: Counter[int] = field(default_factory=Counter)  # pixels by value on disk
    pixels: Counter[int] = field(default_factory=Counter)  # by train id
    images_with: Counter[int] = field(default_factory=Counter)  # by train id
    binary_labels: int = 0  # labels that hold 255 and one other value

    def add(
        self, height: int, width: int, *, values: Mapping[int, int], train_ids: Mapping[int, int]
    ) -> None:
        """Count a label of this size: its pixels by value on disk, and by train id."""
        self.images += 1
        self.widths.add(width)
        self.heights.add(height)
        self.values.update(values)
        self.binary_labels += len(values) == 2 and IGNORE_LABEL in values
        self.pixels.update(train_ids)
        self.images_with.update(train_ids.keys())

    @property
    def labelled(self) -> int:
        """The number of pixels that have a class."""
        return self.pixels.total() - self.pixels[IGNORE_LABEL]

    @property
    def void_share(self) -> float:
        """The share of the pixels that are void, 0..1."""
        return self.pixels[IGNORE_LABEL] / max(self.pixels.total(), 1)

    def to_json(self, data: DataConfig) -> dict[str, Any]:
        """Return the statistics that the manifest holds of this split.

        `share` is a class's share of the labelled pixels, `void_share` the void's share of all pixels, 0..1.
        """
        return {
            "num_images": self.images,
            "width": [min(self.widths, default=0), max(self.widths, default=0)],
            "height": [min(self.heights, default=0), max(self.heights, default=0)],
            "pixels": self.pixels.total(),
            "void_pixels": self.pixels[IGNORE_LABEL],
            "void_share": _rounded(self.void_share),
            "classes": {
                name: {
                    "pixels": self.pixels[train_id],
                    "share": _rounded(self.pixels[train_id] / max(self.labelled, 1)),
                    "images": self.images_with[train_id],
                }
                for train_id, name in enumerate(data.classes)
            },
        }


@dataclass(frozen=True)
class Statistics:
    """What a manifest holds of a data set: `SplitCounts.to_json` by split, and the warnings about it."""

    splits: Mapping[str, Mapping[str, Any]]
    warnings: tuple[str, ...]


def count_values(values: np.ndarray) -> dict[int, int]:
    """Return the number of pixels of each value that occurs, of integers (H, W)."""
    if values.dtype == np.uint8 and values.size < _EXACT:  # in half the time of NumPy
        found, counts = np.arange(256), cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()
    elif values.dtype in (np.bool_, np.uint8, np.uint16):
        counts = np.bincount(values.astype(np.uint16).ravel())
        found = np.arange(len(counts))
    else:
        found, counts = np.unique(values, return_counts=True)
    return {int(value): int(count) for value, count in zip(found, counts, strict=True) if count}


def percent(share: float) -> str:
    """Return a share, 0..1, as text such as "12.34 %" or "0.0012 %"."""
    return f"{100 * share:.2f} %" if not 0 < share < 1e-4 else f"{100 * share:.2g} %"


def read_statistics(directory: Path) -> Statistics:
    """Return the statistics of a prepared data set; empty ones if the folder has no manifest.

    Raises:
        DataError: the manifest is damaged.
    """
    if not (Path(directory) / MANIFEST).is_file():
        return Statistics({}, ())
    manifest = read_manifest(Path(directory))
    return Statistics(manifest.get("statistics", {}), tuple(manifest.get("warnings", ())))


def _rounded(share: float) -> float:
    return float(f"{share:.6g}")
