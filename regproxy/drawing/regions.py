"""Draw regions: their borders, and heat maps of single tokens with the tokens' cells.

A heat map is the probability of each pixel to belong to a token, 0..1. A cell is (top, left, bottom, right)
in pixels of its picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from regproxy.drawing.style import INK, write_png

_FIGURE = {"dpi": 150, "facecolor": "white"}
_COLOURS = 255  # of a picture with many tokens; a third of the size in full colour
_COLOUR_MAP = "inferno"  # from black, perceptually uniform, and safe for colour-blind readers
_BORDER = (255, 225, 0)
_BORDER_EDGE = 0.6  # brightness of the pixels beside a line, so that it is visible on bright ground too
_DIMMED = 0.55  # brightness of the image below a heat map
_PANEL_INCHES, _GAP_INCHES = 1.52, 0.1


@dataclass(frozen=True)
class TokenPanel:
    """A token in a crop of its image: `pixels` uint8 (X, Y, 3), `heat` (X, Y), and the token's cell.

    `title` stands above the crop, `note` below the heat map.
    """

    title: str
    note: str
    pixels: np.ndarray
    heat: np.ndarray
    cell: tuple[float, ...]


def border_lines(pixels: np.ndarray, ids: np.ndarray, token_px: float) -> np.ndarray:
    """Return an image (X, Y, 3) uint8 with a yellow line where pixels of different region ids (X, Y) meet.

    The pixels beside a line are darkened, so that it is visible on dark and on bright ground.

    Args:
        token_px: side of a token in pixels of the image; lines are a small part of it wide.
    """
    lines = np.zeros(ids.shape, np.uint8)
    lines[:-1] |= ids[:-1] != ids[1:]
    lines[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    thickness = max(round(token_px / 24), 1)
    line, edge = (
        cv2.dilate(lines, np.ones((side, side), np.uint8))[..., None] > 0
        for side in (thickness, thickness + 2)
    )
    darkened = np.where(edge, pixels * _BORDER_EDGE, pixels)
    return np.where(line, _BORDER, darkened).astype(np.uint8)


def mean_colours(pixels: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return an image (X, Y, 3) uint8 with the pixels of each region id (X, Y) in their mean colour."""
    areas = np.maximum(np.bincount(ids.ravel()), 1)
    sums = [np.bincount(ids.ravel(), weights=channel.ravel()) for channel in np.moveaxis(pixels, 2, 0)]
    return np.rint(np.stack(sums, axis=1) / areas[:, None]).astype(np.uint8)[ids]


def heat_colours(pixels: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Return a heat map in colour over its darkened, grey image (X, Y, 3), uint8: at 1 only the colour."""
    import matplotlib

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None] / 255
    colours = matplotlib.colormaps[_COLOUR_MAP](heat)[..., :3]
    mixed = colours + (1 - heat[..., None]) * _DIMMED * grey
    return np.rint(255 * mixed.clip(0, 1)).astype(np.uint8)


def enlarged(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Return an image (X, Y, ...) with each pixel repeated `factor` times along both axes."""
    return pixels.repeat(factor, axis=0).repeat(factor, axis=1)


def draw_tokens(panels: Sequence[TokenPanel], path: Path) -> None:
    """Write a PNG with a column for each token: its cell in the image, and below it its heat map.

    Args:
        panels: one or more, all of one size.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

    side, top, bottom, bar = _PANEL_INCHES, 0.32, 0.3, 0.75
    width, height = len(panels) * (side + _GAP_INCHES) + bar, top + 2 * side + _GAP_INCHES + bottom
    figure = Figure(figsize=(width, height), **_FIGURE)
    for index, panel in enumerate(panels):
        left = _GAP_INCHES + index * (side + _GAP_INCHES)
        for pixels, below in (
            (panel.pixels, bottom + side + _GAP_INCHES),
            (heat_colours(panel.pixels, panel.heat), bottom),
        ):
            axes = figure.add_axes((left / width, below / height, side / width, side / height))
            axes.imshow(pixels, interpolation="nearest")
            axes.set_axis_off()
            _outline(axes, panel.cell)
            if pixels is panel.pixels:
                axes.set_title(
                    panel.title,
                    fontsize=min(10.0, 150 / len(panel.title)),
                    color=INK,
                    pad=4,
                    parse_math=False,
                )
        axes.text(
            0.5, -0.04, panel.note, fontsize=7.5, color=INK, transform=axes.transAxes, ha="center", va="top"
        )
    axes = figure.add_axes(((width - bar + 0.1) / width, bottom / height, 0.12 / width, side / height))
    figure.colorbar(ScalarMappable(cmap=_COLOUR_MAP), cax=axes, ticks=(0, 0.5, 1))
    axes.tick_params(labelsize=8, colors=INK)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    write_png(np.asarray(canvas.buffer_rgba())[..., :3], path, _COLOURS)


def draw_heat(
    pixels: np.ndarray, heat: np.ndarray, tokens: Sequence[tuple[str, tuple[float, ...]]], path: Path
) -> None:
    """Write a PNG of a whole image with the heat maps of some tokens, and each token's cell and name.

    The PNG has the size of `pixels`.

    Args:
        pixels: (X, Y, 3) uint8.
        heat: (X, Y), the largest probability over all tokens.
        tokens: their names and cells.
    """
    from matplotlib.figure import Figure

    height, width = pixels.shape[:2]
    figure = Figure(figsize=(width / _FIGURE["dpi"], height / _FIGURE["dpi"]), **_FIGURE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(heat_colours(pixels, heat), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    for name, cell in tokens:
        top, left, bottom, right = cell
        _outline(axes, cell)
        is_low, is_right = bottom > 0.85 * height, left > 0.7 * width
        axes.text(
            right if is_right else left,
            top - 4 if is_low else bottom + 2,
            name,
            fontsize=8,
            color="white",
            ha="right" if is_right else "left",
            va="bottom" if is_low else "top",
            parse_math=False,
            path_effects=_halo(2.0),
        )
    figure.savefig(path, format="png", metadata={"Software": None})  # no version: equal files


def _outline(axes: Any, cell: tuple[float, ...]) -> None:
    """Draw a cell in white with a dark edge, so that it is visible on bright colours too."""
    from matplotlib.patches import Rectangle

    top, left, bottom, right = cell
    style = {"fill": False, "edgecolor": "white", "linewidth": 1.2, "path_effects": _halo(2.6)}
    # Matplotlib's pixel i reaches from i - 0.5 to i + 0.5.
    axes.add_patch(Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, **style))


def _halo(width: float) -> list[Any]:
    from matplotlib.patheffects import withStroke

    return [withStroke(linewidth=width, foreground="black")]
