"""Put pairs of panels, with a title above each pair and a legend, into one PNG."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regproxy.drawing.style import INK, write_png

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

_WIDE = 1.5  # a panel with a larger width / height lies above its partner, three pairs per row
_BOXES = {True: 530, False: 400}  # side of the box that a panel should fill, if it is wide or not
_GAP = 8  # pixels between panels; all lengths are in pixels
_TEXT = 0.017  # size of the words relative to the width of the picture: readable on a phone too
_LINE = 1.8  # height of a line relative to the size of the words
_SWATCH = 1.5  # width of a swatch relative to the size of the words
_OUTLINE = 60  # grey of the line around a swatch
_COLOURS = 255
_MAX_TEXT = 60  # characters of a title or a name

LegendEntry = tuple[str, np.ndarray]  # a name with its pixels, (3,) or (H, W, 3) uint8


@dataclass(frozen=True)
class Pair:
    """Two panels under one title; both are uint8 (H, W, 3)."""

    title: str
    first: np.ndarray
    second: np.ndarray


@dataclass(frozen=True)
class Legend:
    """A legend that is laid out in columns for a box of some width; its entries run down the columns."""

    entries: Sequence[LegendEntry]
    font: "FreeTypeFont"
    width: int

    @property
    def entry_width(self) -> int:
        longest = max((self.font.getlength(name) for name, _ in self.entries), default=0)
        return round(longest + (_SWATCH + 1.5) * self.font.size)

    @property
    def rows(self) -> int:
        return -(-len(self.entries) // max(self.width // self.entry_width, 1))

    @property
    def height(self) -> int:
        return round(self.rows * _LINE * self.font.size)


def box_of(shape: Sequence[int]) -> int:
    """Return the side of the box that `panels.fit` should fill, for pictures of a shape (H, W, ...)."""
    return _BOXES[_is_wide(shape)]


def draw_grid(
    pairs: Sequence[Pair], entries: Sequence[LegendEntry], path: Path, *, colours: int | None = _COLOURS
) -> None:
    """Write a PNG of pairs of panels and their legend.

    The panels of a pair lie side by side, two pairs per row; wide ones lie above each other, three pairs per
    row. The legend fills the free place at the end of the grid if it is large enough, else a strip below.

    Args:
        pairs: one or more, with panels of one size.
        entries: those of the legend; may be empty.
        path: the file to write.
        colours: number of colours of the file, at most 256; None for full colour.
    """
    from PIL import Image, ImageDraw

    height, width = pairs[0].first.shape[:2]
    wide = _is_wide(pairs[0].first.shape)
    columns = min(len(pairs), 3 if wide else 2)
    rows = -(-len(pairs) // columns)
    cell_width = (width if wide else 2 * width + _GAP) + 2 * _GAP
    font = _font(max(round(_TEXT * columns * cell_width), 8))
    title_height = round(_LINE * font.size)
    panels_height = 2 * height + _GAP if wide else height
    cell_height = title_height + panels_height + _GAP
    entries = [(_one_line(name), pixels) for name, pixels in entries]
    legend = Legend(entries, font, cell_width - 2 * _GAP)
    corner = ((columns - 1) * cell_width + _GAP, (rows - 1) * cell_height + title_height)
    strip = 0
    if columns * rows == len(pairs) or legend.height > panels_height:
        legend = Legend(entries, font, columns * cell_width - 2 * _GAP)
        corner, strip = (_GAP, rows * cell_height), legend.height
    pixels = np.full((rows * cell_height + strip, columns * cell_width, 3), 255, np.uint8)
    words = []
    for index, pair in enumerate(pairs):
        left, top = index % columns * cell_width + _GAP, index // columns * cell_height
        title = _one_line(pair.title)
        size = font.size * min(1.0, (cell_width - 2 * _GAP) / max(font.getlength(title), 1.0))
        words.append((left, top + title_height // 2, title, font.font_variant(size=size)))
        top += title_height
        pixels[top : top + height, left : left + width] = pair.first
        top, left = (top + height + _GAP, left) if wide else (top, left + width + _GAP)
        pixels[top : top + height, left : left + width] = pair.second
    words += _paint_legend(pixels, legend, corner)
    image = Image.fromarray(pixels)
    draw = ImageDraw.Draw(image)
    for left, middle, word, word_font in words:
        draw.text((left, middle), word, fill=INK, font=word_font, anchor="lm")
    write_png(np.asarray(image), path, colours)


def _one_line(text: str) -> str:
    """Return a text without line breaks, which file names can have, and of a readable length."""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 1]}…"


def _is_wide(shape: Sequence[int]) -> bool:
    return shape[1] > _WIDE * shape[0]


def _font(size: int) -> "FreeTypeFont":
    """Return the font of matplotlib's plots; it comes with the library."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(str(Path(get_data_path(), "fonts/ttf/DejaVuSans.ttf")), size)


def _paint_legend(
    pixels: np.ndarray, legend: Legend, corner: tuple[int, int]
) -> list[tuple[int, int, str, "FreeTypeFont"]]:
    """Paint the swatches of a legend; return its words: left, vertical middle, text, font."""
    words, size = [], round(legend.font.size)
    for index, (name, colours) in enumerate(legend.entries):
        column, row = divmod(index, legend.rows)
        left, middle = corner[0] + column * legend.entry_width, corner[1] + round((row + 0.5) * _LINE * size)
        top, width = middle - size // 2, round(_SWATCH * size)
        pixels[top : top + size, left : left + width] = _OUTLINE
        inner = colours if colours.ndim == 1 else colours[: size - 2, : width - 2]
        pixels[top + 1 : top + size - 1, left + 1 : left + width - 1] = inner
        words.append((left + width + size // 2, middle, name, legend.font))
    return words
