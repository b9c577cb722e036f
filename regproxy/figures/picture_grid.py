"""Put pairs of panels, with a title above each pair and a legend, into one PNG."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regproxy.figures.style import INK, write_png

_WIDE = 1.5  # a panel with a larger width / height lies above its partner, three pairs per row
_GAP = 8  # pixels between panels, like all lengths below
_DOTS_PER_INCH = 100
_TEXT = 0.019  # height of the words relative to the width of the picture, readable on a narrow screen too
_CHARACTER = 0.6  # mean width of a character relative to the height of the words
_COLOURS = 255

LegendEntry = tuple[str, np.ndarray]  # a name with its pixels, (3,) or (H, W, 3) uint8


@dataclass(frozen=True)
class Pair:
    """Two panels under one title; both are uint8 (H, W, 3)."""

    title: str
    first: np.ndarray
    second: np.ndarray


def box_of(shape: Sequence[int]) -> int:
    """Return the side of the box that `panels.fit` should fill, for pictures of a shape (H, W, ...)."""
    return 530 if _is_wide(shape) else 400


def draw_grid(pairs: Sequence[Pair], legend: Sequence[LegendEntry], path: Path) -> None:
    """Write a PNG of pairs of panels and their legend.

    The panels of a pair lie side by side, two pairs per row, or above each other if they are wide, three pairs
    per row. The legend fills a free place of the grid, if it is large enough, else a strip below.

    Args:
        pairs: one or more, with panels of one size.
        legend: may be empty.
        path: the file to write.
    """
    height, width = pairs[0].first.shape[:2]
    wide = _is_wide(pairs[0].first.shape)
    columns = min(len(pairs), 3 if wide else 2)
    rows = -(-len(pairs) // columns)
    cell_width = width if wide else 2 * width + _GAP
    total_width = columns * (cell_width + 2 * _GAP)
    text = _TEXT * total_width
    panels_height = 2 * height + _GAP if wide else height
    cell_height = round(1.6 * text) + panels_height + _GAP
    free = (columns * rows > len(pairs)) * panels_height
    legend_columns, legend_rows = _legend_shape(legend, text, cell_width)
    strip = 0
    if legend_rows * 1.5 * text > free:
        legend_columns, legend_rows = _legend_shape(legend, text, total_width - 2 * _GAP)
        strip = round(legend_rows * 1.5 * text) + _GAP
    canvas = np.full((rows * cell_height + strip, total_width, 3), 255, np.uint8)
    words = []  # x, y from the top, text, size
    for index, pair in enumerate(pairs):
        row, column = divmod(index, columns)
        left, top = column * (cell_width + 2 * _GAP) + _GAP, row * cell_height
        size = min(text, cell_width / (_CHARACTER * max(len(pair.title), 1)))
        words.append((left, top + 0.8 * text, pair.title, size))
        top += round(1.6 * text)
        canvas[top : top + height, left : left + width] = pair.first
        down, right = (height + _GAP, 0) if wide else (0, width + _GAP)
        canvas[top + down : top + down + height, left + right : left + right + width] = pair.second
    left, top = _GAP, rows * cell_height
    if not strip:
        left = (columns - 1) * (cell_width + 2 * _GAP) + _GAP
        top += round(1.6 * text) - cell_height
    words += _paint_legend(canvas, legend, (left, top), text, legend_columns, legend_rows)
    _write(canvas, words, path)


def _is_wide(shape: Sequence[int]) -> bool:
    return shape[1] > _WIDE * shape[0]


def _legend_shape(legend: Sequence[LegendEntry], text: float, width: float) -> tuple[int, int]:
    """Return the columns and rows of a legend in a box of a width."""
    columns = max(int(width / _entry_width(legend, text)), 1)
    rows = -(-len(legend) // columns)
    return -(-len(legend) // max(rows, 1)), rows


def _entry_width(legend: Sequence[LegendEntry], text: float) -> float:
    return text * (_CHARACTER * max((len(name) for name, _ in legend), default=0) + 2.6)


def _paint_legend(
    canvas: np.ndarray, legend: Sequence[LegendEntry], corner: tuple[int, int], text: float, columns: int, rows: int
) -> list[tuple[float, float, str, float]]:
    """Paint the swatches of a legend, column by column; return its words: x, y from the top, text, size."""
    words = []
    for index, (name, pixels) in enumerate(legend):
        column, row = divmod(index, rows)
        left = round(corner[0] + column * _entry_width(legend, text))
        top = round(corner[1] + row * 1.5 * text + 0.2 * text)
        width, height = round(1.5 * text), round(text)
        canvas[top : top + height, left : left + width] = (60, 60, 60)
        swatch = pixels if pixels.ndim == 1 else pixels[: height - 2, : width - 2]
        canvas[top + 1 : top + height - 1, left + 1 : left + width - 1] = swatch
        words.append((left + 2.0 * text, top + 0.5 * height, name, text))
    return words


def _write(canvas: np.ndarray, words: Sequence[tuple[float, float, str, float]], path: Path) -> None:
    from matplotlib.figure import Figure

    height, width = canvas.shape[:2]
    figure = Figure(figsize=(width / _DOTS_PER_INCH, height / _DOTS_PER_INCH), dpi=_DOTS_PER_INCH)
    figure.figimage(canvas)
    for x, y, word, size in words:
        points = 0.85 * size * 72 / _DOTS_PER_INCH
        place = (x / width, 1 - y / height)
        figure.text(*place, word, fontsize=points, color=INK, va="center_baseline")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DOTS_PER_INCH)
    write_png(content, path, _COLOURS)
