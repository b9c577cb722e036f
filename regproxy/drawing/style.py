"""The style of the report's plots, and the two files of each: SVG for the page, PNG for all other readers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT = "#222222", "#d9d9d9"  # axes and words; grid lines. A page replaces both in the SVG in dark mode.
LINE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")  # Okabe and Ito
MARKERS = ("o", "s", "^", "D", "v", "P")
LINE_STYLES = ("-", "--", "-.", ":")
GAIN, LOSS = LINE_COLOURS[:2]  # bars of differences
_DOTS_PER_INCH = 150
_PNG_COLOURS = 96  # a plot has few colours; the others are shades between them
_STYLE = {
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "text.color": INK,
    "text.parse_math": False,  # a class may be named with dollar signs
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def plot(path: Path, width: float, height: float) -> Iterator["Figure"]:
    """Yield an empty figure to draw on; at the end, write it as PNG and SVG. Equal figures give equal bytes.

    The SVG has no background and keeps its words as text. Identifiers that its parts refer to differ between
    files, so that one page can hold several.

    Args:
        path: the PNG file; the SVG has the same name with the suffix `.svg`.
        width, height: in inches.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": path.stem}):
        figure = Figure(figsize=(width, height))
        yield figure
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))  # no version, no time
        figure.savefig(path.with_suffix(".svg"), transparent=True, metadata=nothing)
        figure.set(dpi=_DOTS_PER_INCH, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        write_png(np.asarray(canvas.buffer_rgba())[..., :3], path, _PNG_COLOURS)


def write_png(pixels: np.ndarray, path: Path, colours: int | None) -> None:
    """Write pixels (H, W, 3) uint8 as a PNG of at most 256 `colours`: a third of its size in full colour.

    `colours` is None for full colour.
    """
    from PIL import Image

    image = Image.fromarray(np.ascontiguousarray(pixels))
    if colours is not None:
        image = image.quantize(colours, dither=Image.Dither.NONE)
    image.save(path, optimize=True)


def logarithmic_x(axes: "Axes") -> None:
    """Give axes a logarithmic x with plain numbers; matplotlib's own labels are formulas, which are off."""
    from matplotlib.ticker import LogFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(LogFormatter())
    axes.xaxis.set_minor_formatter(LogFormatter())  # labels only a short axis


def line_style(index: int) -> dict[str, str]:
    """Return colour, marker and line style of the line `index`, distinct for the first 24 lines."""
    number = len(LINE_COLOURS)
    style = LINE_STYLES[index // number % len(LINE_STYLES)]
    return {"color": LINE_COLOURS[index % number], "marker": MARKERS[index % number], "linestyle": style}
