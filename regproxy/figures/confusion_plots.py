"""The confusion matrix of the main variant: which classes it takes for which."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.config.profile import Profile
from regproxy.drawing.style import INK, LINE_COLOURS, plot
from regproxy.figures.names import short_names
from regproxy.report.aggregate import Scores
from regproxy.report.layout import Picture, data_title

_MAX_CLASSES = 20
_DARK = 0.55  # a cell with a larger share has a white number
_SMALLEST = 0.01  # a smaller share has no number


def draw_confusions(profile: Profile, scores: Scores, data: DataConfig, out: Path) -> list[Picture]:
    """Draw the confusion matrix of the main variant's median seed; return no picture without its matrices.

    The file is `confusions-<data set>.png` in the existing folder `out`.
    """
    score = scores.get((profile.pictures.main, data.name)) if profile.pictures else None
    confusions = score.trials[score.median_seed].image_confusions() if score and score.trials else None
    if confusions is None:
        return []
    path = out / f"confusions-{data.name}.png"
    matrix = confusions.total()
    shown = draw_confusion(matrix, data.classes, path)
    labelled = int((matrix.sum(axis=1) > 0).sum())
    rest = (
        f" Shown are the {shown} of {labelled} classes with the most confused pixels; the rest of a row got "
        "predictions that are not shown."
    )
    name = short_names([score.variant])[score.variant.name]
    where = f"{data_title(profile, data)}, seed {score.median_seed} (median score)"
    caption = (
        f"Confusions of {name} on {where}: the percentage of each label's pixels that got each prediction. "
        f"Shares below 1% have no number."
        f"{rest * (shown < labelled)}"
    )
    return [Picture(f"{out.name}/{path.name}", caption)]


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], path: Path) -> int:
    """Write a picture of a confusion matrix, and return the number of its classes.

    Args:
        matrix: pixels by label (rows) and prediction (columns), (K, K).
        classes: K names.
        path: the PNG file; the SVG has the same name with another suffix.
    """
    chosen = most_confused(matrix, _MAX_CLASSES)
    rows = matrix.sum(axis=1, keepdims=True)
    shares = (matrix / np.maximum(rows, 1))[np.ix_(chosen, chosen)]
    names, count = [classes[index] for index in chosen], len(chosen)
    margin = 0.075 * max(map(len, names), default=0) + 0.6
    side = max(0.42 * count, 2.0)
    with plot(path, side + margin, side + margin) as figure:
        axes = figure.add_subplot()
        red, green, blue = (int(LINE_COLOURS[0][start : start + 2], 16) / 255 for start in (1, 3, 5))
        for (row, column), share in np.ndenumerate(shares):
            place = (column - 0.48, row - 0.48)
            if share >= _SMALLEST / 2:
                axes.add_patch(_cell(place, (red, green, blue, share)))
            if share >= _SMALLEST:
                colour = "white" if share > _DARK else INK
                axes.text(
                    column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=9, color=colour
                )
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_aspect("equal")
        axes.set_xticks(range(count), names, rotation=90)
        axes.set_yticks(range(count), names)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.grid(visible=False)
        axes.set_xlabel("prediction")
        axes.set_ylabel("label")
    return count


def most_confused(matrix: np.ndarray, count: int) -> np.ndarray:
    """Return the indices, in order, of the labelled classes that lose or attract the most pixels wrongly.

    All labelled classes if there are at most `count`.
    """
    wrong = matrix - np.diag(np.diag(matrix))
    labelled = np.flatnonzero(matrix.sum(axis=1))
    by_pixels = labelled[np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1))[labelled], kind="stable")]
    return np.sort(by_pixels[:count])


def _cell(place: tuple[float, float], colour: tuple[float, ...]):
    from matplotlib.patches import Rectangle

    return Rectangle(place, 0.96, 0.96, facecolor=colour, linewidth=0)
