"""Words beside the points of a plot, placed so that they cover no point, line or other word."""

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from regproxy.drawing.style import INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE = 8.5  # of the words, in points, like all lengths below
_CHARACTER, _LINE = 0.72 * _SIZE, 1.15 * _SIZE  # width of a wide character, height of a line
_MARKER = 7.0  # side of the square that a point needs
_STEP = 3.0  # distance of the places of a line that a word must not cover
_RADII = (2.0, 9.0, 18.0, 28.0)  # distance of a word from its point; beyond the first, a thin line joins them
_ANGLES = (90, 270, 0, 180, 45, 315, 135, 225)  # degrees, the preferred first

Box = tuple[float, float, float, float]  # left, bottom, right, top


def label_points(axes: "Axes", points: Sequence[tuple[float, float]], words: Sequence[str]) -> None:
    """Write a word beside each point (x, y) of a plot that is complete but for these words.

    The words get the first free place around their point, the nearest places first.
    """
    axes.figure.draw_without_rendering()  # the layout decides where the points are
    to_points = 72 / axes.figure.dpi
    places = axes.transData.transform(np.array(points)) * to_points
    frame = axes.bbox.extents * to_points
    taken: list[Box] = [_box(x, y, _MARKER, _MARKER) for x, y in places]
    taken += [_box(x, y, 1.0, 1.0) for x, y in _line_places(axes, to_points)]
    for (x, y), point, word in zip(places, points, words, strict=True):
        width = _CHARACTER * len(word)
        offset, radius, box = _free_place(x, y, width, taken, frame)
        taken.append(box)
        far = radius > _RADII[0]
        axes.annotate(
            word,
            point,
            xytext=offset,
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=_SIZE,
            arrowprops={"arrowstyle": "-", "color": INK, "linewidth": 0.5, "shrinkB": 3} if far else None,
        )


def _line_places(axes: "Axes", to_points: float) -> list[np.ndarray]:
    """Return places along all lines and bars of a plot, in points."""
    lines = [line.get_xydata() for line in axes.lines]
    lines += [segment for bars in axes.collections for segment in bars.get_segments()]
    places = []
    for line in lines:
        corners = axes.transData.transform(np.asarray(line, np.float64)) * to_points
        for start, end in itertools.pairwise(corners):
            count = int(np.hypot(*(end - start)) / _STEP) + 2
            places += list(np.linspace(start, end, count))
    return places


def _free_place(
    x: float, y: float, width: float, taken: Sequence[Box], frame: Sequence[float]
) -> tuple[tuple[float, float], float, Box]:
    """Return offset, distance and box of a word of a width beside (x, y); the last place if none is free."""
    for radius in _RADII:
        for angle in map(math.radians, _ANGLES):
            dx = math.cos(angle) * (radius + _MARKER / 2 + width / 2)
            dy = math.sin(angle) * (radius + _MARKER / 2 + _LINE / 2)
            box = _box(x + dx, y + dy, width, _LINE)
            inside = box[0] > frame[0] and box[1] > frame[1] and box[2] < frame[2] and box[3] < frame[3]
            if inside and not any(_overlap(box, other) for other in taken):
                return (dx, dy), radius, box
    return (dx, dy), radius, box


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
