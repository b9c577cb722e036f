"""The files that a prediction is written to: label maps, overlays and confidences.

X Y the image, K the number of classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.formats import FORMATS
from regproxy.config.parse import choose
from regproxy.drawing.legend import with_legend
from regproxy.errors import ConfigError
from regproxy.inference.image_files import output_path, save_picture, write_classes

LABELS, OVERLAY, CONFIDENCE = ".png", "-overlay.jpg", "-confidence.png"
ENDINGS = (LABELS, OVERLAY, CONFIDENCE)
ID_FORMATS = tuple(name for name, spec in FORMATS.items() if spec.values)
_PNG_LEVEL = 3  # takes half the time of Pillow's 6, for files a quarter larger


@dataclass(frozen=True)
class Outputs:
    """What is written for each image.

    `<name>.png` has the class of every pixel: as train ids, whose palette has the classes' colours, or with
    `save_ids` as grey values, the ids that the test server of a format expects. `<name>-overlay.jpg` is the
    mean of image and colours with a legend. `<name>-confidence.png` is 8-bit grey: the probability of the
    predicted class times 255, rounded.

    Attributes:
        classes: the names of the K classes.
        palette: their colours, uint8 (K, 3) RGB.
        save_ids: one of ID_FORMATS, or None for train ids.
    """

    classes: tuple[str, ...]
    palette: np.ndarray
    overlay: bool = False
    confidence: bool = False
    save_ids: str | None = None

    @property
    def endings(self) -> tuple[str, ...]:
        """The endings of the files that are written for each image."""
        return (LABELS, *(OVERLAY,) * self.overlay, *(CONFIDENCE,) * self.confidence)

    @cached_property
    def ids(self) -> np.ndarray:
        """The id of each class in label maps, (K,): uint8.

        Raises:
            ConfigError: the format of `save_ids` lacks a class.
        """
        if self.save_ids is None:
            return np.arange(len(self.classes), dtype=np.uint8)
        return server_ids(self.classes, self.save_ids)

    def write_classes(self, out: Path) -> None:
        """Write classes.csv to a folder: the id, name and colour of each class."""
        write_classes(self.classes, self.ids, self.palette, out)

    def write(self, image: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None, base: Path) -> None:
        """Write the files of one image; their paths begin with `base`.

        Args:
            image: (X, Y, 3), uint8 RGB.
            labels: (X, Y), train ids.
            confidence: float32 (X, Y) in 0..1, if it is written.
        """
        picture = Image.fromarray(self.ids[labels] if self.save_ids else labels)
        if not self.save_ids:
            picture.putpalette(self.palette.tobytes())
        save_picture(picture, output_path(base, LABELS), "PNG", compress_level=_PNG_LEVEL)
        if self.overlay:
            blend = ((image.astype(np.uint16) + self.palette[labels]) // 2).astype(np.uint8)
            page = with_legend(Image.fromarray(blend), labels, self.classes, self.palette)
            save_picture(page, output_path(base, OVERLAY), "JPEG", quality=90)
        if self.confidence:
            grey = Image.fromarray(np.rint(255 * confidence).astype(np.uint8))
            save_picture(grey, output_path(base, CONFIDENCE), "PNG", compress_level=_PNG_LEVEL)


def server_ids(classes: Sequence[str], format: str) -> np.ndarray:
    """Return the label value of each class in the official files of a format, uint8 (K,).

    Raises:
        ConfigError: the format is unknown, or a class is not one of its classes.
    """
    spec = FORMATS[choose(format, ID_FORMATS, "format of the ids")]
    values = {name: value for value, name in spec.values.items() if name is not None}
    unknown = [name for name in classes if name not in values]
    if unknown:
        names = ", ".join(unknown[:3]) + (", ..." if len(unknown) > 3 else "")
        raise ConfigError(
            f"ids of {format} cannot be saved: it lacks {len(unknown)} of the model's {len(classes)} classes "
            f"({names}). Save train ids instead."
        )
    return np.array([values[name] for name in classes], np.min_scalar_type(IGNORE_LABEL))
