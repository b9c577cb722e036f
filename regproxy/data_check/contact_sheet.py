"""The contact sheet of a raw data set: some of its images, each beside itself with its label over it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from regproxy.config.dataset import IGNORE_LABEL, DataConfig
from regproxy.data.labels import palette
from regproxy.data.pairs import Pair
from regproxy.data.scan import convert_pair
from regproxy.drawing.panels import fit, paint_label
from regproxy.drawing.picture_grid import Pair as Panels
from regproxy.drawing.picture_grid import box_of, draw_grid

_NUM_IMAGES = 12
_OPACITY = 0.6  # of the label over the image


def draw_contact_sheet(data: DataConfig, pairs: Mapping[str, Sequence[Pair]], path: Path) -> list[str]:
    """Write a PNG of images spread evenly over the splits, with their labels in the colours of the classes.

    Pairs that cannot be used are left out.

    Args:
        data: gives the classes and their colours.
        pairs: those of each split.
        path: the file to write; none is written if no pair can be used.

    Returns:
        The names of the images, such as "train 0001", in the order of the picture.
    """
    from regproxy.data.loader import decode

    colours, shown = palette(data), []
    for split, pair in _choose(pairs):
        record = convert_pair(pair, data=data).record
        if record is not None:
            shown.append((f"{split} {pair.id}", *decode(record.image, record.label)))
    if not shown:
        return []
    box = box_of(shown[0][1].shape)
    fitted = [(title, fit(image, box), fit(label, box)) for title, image, label in shown]
    size = tuple(max(label.shape[axis] for _, _, label in fitted) for axis in (0, 1))
    panels, classes = [], set()
    for title, image, label in fitted:
        classes |= set(np.unique(label).tolist())
        overlay = (1 - _OPACITY) * image + _OPACITY * paint_label(label, colours)
        panels.append(Panels(title, _on_white(image, size), _on_white(np.rint(overlay), size)))
    legend = [(data.classes[k], colours[k]) for k in sorted(classes - {IGNORE_LABEL})]
    if IGNORE_LABEL in classes:
        legend.append(("void", paint_label(np.full((64, 64), IGNORE_LABEL, np.uint8), colours)))
    draw_grid(panels, legend, path, colours=None)  # few colours would spoil the legend
    return [title for title, _, _ in shown]


def _choose(pairs: Mapping[str, Sequence[Pair]]) -> list[tuple[str, Pair]]:
    """Return pairs with their splits, half of them of the first split, spread evenly over the ids."""
    counts = {split: len(found) for split, found in pairs.items() if found}
    chosen = []
    for index, (split, count) in enumerate(counts.items()):
        wanted = _NUM_IMAGES // 2 if index == 0 else _NUM_IMAGES // 2 // max(len(counts) - 1, 1)
        places = np.linspace(0, count - 1, min(wanted, count)).round().astype(int)
        chosen += [(split, pairs[split][place]) for place in places]
    return chosen


def _on_white(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return pixels (H, W, 3) in the upper left corner of a white picture of `size`, uint8."""
    canvas = np.full((*size, 3), 255, np.uint8)
    canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
    return canvas
