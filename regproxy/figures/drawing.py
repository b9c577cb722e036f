"""Draw PNG files from arrays and numbers: panels with a legend, and curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from regproxy.config.variant import IGNORE_LABEL

FIGURE = {"dpi": 150, "facecolor": "white"}
PNG = {"format": "png", "metadata": {"Software": None}}  # no version: equal figures give equal files
_WIDE = 1.5  # panels with a larger width / height are drawn two per row
_MAX_POINTS = 200  # longer curves are averaged to this many points
INK, _FAINT = "#222222", "#d9d9d9"


@dataclass(frozen=True)
class Panel:
    """A picture with its title; `pixels` are (H, W, 3) uint8 RGB."""

    title: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A metric against the step: `points` of the median seed, `others` of the other seeds."""

    label: str
    points: Sequence[tuple[int, float]]
    others: Sequence[Sequence[tuple[int, float]]] = ()


def paint_label(label: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return a label map (H, W) in the colours (K, 3) of its classes, uint8 (H, W, 3); void is hatched."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    rows, columns = np.indices(label.shape)
    stripe = max(max(label.shape) // 96, 1)
    hatch = np.where((rows + columns) // stripe % 4 == 0, 110, 45).astype(np.uint8)
    return np.where((label == IGNORE_LABEL)[..., None], hatch[..., None], table[label])


def draw_panels(panels: Sequence[Panel], legend: Sequence[tuple[str, np.ndarray | None]], path: Path) -> None:
    """Write a PNG of panels with a legend below: two panels per row if they are wide, else up to five.

    Args:
        panels: one or more, all of one size.
        legend: names with their colours, uint8 (3,), or None for void.
        path: the file to write.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    height, width = panels[0].pixels.shape[:2]
    columns = min(len(panels), 2 if width / height > _WIDE else 5)
    rows = -(-len(panels) // columns)
    panel_width = (10.0 if columns == 2 else 13.0) / max(columns, 2)  # inches, like all lengths below
    panel_height = panel_width * height / width
    legend_rows = -(-len(legend) // max(round(columns * panel_width / 1.6), 1))
    total_height = rows * (panel_height + 0.34) + 0.12 + 0.2 * legend_rows
    figure = Figure(figsize=(columns * panel_width, total_height), **FIGURE)
    height_share = panel_height / total_height
    title_size = min(11.0, 110 * panel_width / max(len(panel.title) for panel in panels))
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        bottom = 1 - (row * (panel_height + 0.34) + 0.3) / total_height - height_share
        axes = figure.add_axes(((column + 0.012) / columns, bottom, 0.976 / columns, height_share))
        axes.imshow(panel.pixels, interpolation="nearest" if width < 600 else "auto")
        axes.set_title(panel.title, fontsize=title_size, color=INK, pad=4)
        axes.set_axis_off()
    if legend:
        void = {"facecolor": "#2d2d2d", "hatch": "//////", "edgecolor": "#6e6e6e", "linewidth": 0.0}
        patches = [
            Patch(**void) if colour is None else Patch(facecolor=colour / 255, edgecolor=INK, linewidth=0.4)
            for _, colour in legend
        ]
        style = {"fontsize": 9, "frameon": False, "handlelength": 1.2, "borderaxespad": 0.2, "borderpad": 0.2}
        names = [name for name, _ in legend]
        figure.legend(patches, names, loc="lower center", ncols=-(-len(legend) // legend_rows), **style)
    figure.savefig(path, **PNG)


def draw_curves(title: str, loss: Sequence[Curve], miou: Sequence[Curve], path: Path) -> None:
    """Write a PNG with loss and validation mIoU (percent) against the step; one of the two may be empty."""
    from matplotlib.figure import Figure

    shown = [(name, curves) for name, curves in (("loss", loss), ("val mIoU, %", miou)) if curves]
    longest, count = max(len(curve.label) for curve in (*loss, *miou)), max(len(loss), len(miou))
    size = (4.6 * len(shown) + 0.5 + 0.085 * longest, max(3.4, 0.5 + 0.2 * count))
    figure = Figure(figsize=size, layout="constrained", **FIGURE)
    figure.suptitle(title, fontsize=12, color=INK)
    for position, (name, curves) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), position)
        for index, curve in enumerate(curves):
            style = {"color": f"C{index % 10}", "linestyle": ("-", "--", ":", "-.")[index // 10 % 4]}
            for other in filter(None, curve.others):
                axes.plot(*_thinned(other), linewidth=0.8, alpha=0.3, **style)
            style |= {"linewidth": 1.8, "markersize": 3.5, "marker": "o" if len(curve.points) < 12 else None}
            axes.plot(*_thinned(curve.points), label=curve.label, **style)
        axes.set_xlabel("step", color=INK)
        axes.set_ylabel(name, color=INK)
        axes.grid(color=_FAINT, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", fontsize=9, frameon=False)
    figure.savefig(path, **PNG)


def _thinned(points: Sequence[tuple[int, float]]) -> np.ndarray:
    """Return steps and values as (2, P), with neighbours averaged so that P is at most _MAX_POINTS."""
    groups = np.array_split(np.array(points, np.float64), min(len(points), _MAX_POINTS))
    return np.stack([group.mean(axis=0) for group in groups], axis=1)
