"""The IoU of every class: the baseline and the main variant beside each other, and their difference."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regproxy.config.dataset import DataConfig
from regproxy.config.profile import Profile
from regproxy.data.labels import palette
from regproxy.drawing.style import GAIN, INK, LINE_COLOURS, LOSS, plot
from regproxy.figures.names import short_names
from regproxy.report.aggregate import Score, Scores
from regproxy.report.classes import class_summaries
from regproxy.report.layout import Picture, data_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_CLASSES = 30
_BASELINE = {"color": LINE_COLOURS[5], "marker": "o", "markerfacecolor": "none"}
_MAIN = {"color": LINE_COLOURS[0], "marker": "o"}


@dataclass(frozen=True)
class ClassScore:
    """The IoU of class `index` in percent: median, minimum and maximum over the seeds that have one."""

    index: int
    baseline: tuple[float, float, float]
    main: tuple[float, float, float]

    @property
    def gain(self) -> float:
        """The difference of the medians."""
        return self.main[0] - self.baseline[0]


def draw_classes(profile: Profile, scores: Scores, data: DataConfig, out: Path) -> list[Picture]:
    """Draw the IoU of each class of a data set; return no picture if main and baseline are not both scored.

    Of more than 30 classes, those with the largest differences are drawn. The file is
    `classes-<data set>.png` in the existing folder `out`.
    """
    if not profile.pictures or profile.pictures.main == profile.pictures.baseline:
        return []
    pair = [scores.get((name, data.name)) for name in (profile.pictures.baseline, profile.pictures.main)]
    found = class_scores(*pair) if all(score and score.trials for score in pair) else []
    if not found:
        return []
    shown = sorted(sorted(found, key=lambda one: -abs(one.gain))[:_MAX_CLASSES], key=lambda one: one.main[0])
    names = list(short_names([score.variant for score in pair]).values())
    path = out / f"classes-{data.name}.png"
    _draw(shown, names, data, path)
    title = data_title(profile, data)
    which = f"The {len(shown)} of {len(found)} classes of {title} with the largest differences"
    which = which if len(shown) < len(found) else f"The classes of {title}"
    bars = " with the seeds' range as a thin bar" if max(len(score.trials) for score in pair) > 1 else ""
    caption = (
        f"{which}, the best of {names[1]} on top. Left: IoU, the median over the seeds{bars}. "
        f"Right: {names[1]} minus {names[0]}, the difference of the medians."
    )
    return [Picture(f"{out.name}/{path.name}", caption)]


def class_scores(baseline: Score, main: Score) -> list[ClassScore]:
    """Return the scores of the classes for which both variants have an IoU, in the order of the classes."""
    pairs = zip(class_summaries(baseline), class_summaries(main), strict=False)
    return [ClassScore(index, *pair) for index, pair in enumerate(pairs) if None not in pair]


def _draw(shown: Sequence[ClassScore], names: Sequence[str], data: DataConfig, path: Path) -> None:
    rows, colours = np.arange(len(shown)), palette(data) / 255
    with plot(path, 9.0, 1.2 + 0.27 * len(shown)) as figure:
        left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
        for offset, name, style, values in (
            (-0.14, names[0], _BASELINE, [one.baseline for one in shown]),
            (0.14, names[1], _MAIN, [one.main for one in shown]),
        ):
            medians, lows, highs = np.array(values).T
            left.hlines(rows + offset, lows, highs, color=style["color"], linewidth=1.2)
            left.plot(medians, rows + offset, label=name, linestyle="none", markersize=6, **style)
        left.set_yticks(rows, [data.classes[one.index] for one in shown])
        left.tick_params(axis="y", length=0, pad=18)
        left.set_ylim(-0.6, len(shown) - 0.4)
        left.set_xlim(0, 100)
        left.set_xlabel("IoU, %")
        transform = left.get_yaxis_transform()
        left.scatter(
            np.full(len(shown), -0.03),
            rows,
            c=[colours[one.index] for one in shown],
            marker="s",
            s=70,
            edgecolors=INK,
            linewidths=0.5,
            transform=transform,
            clip_on=False,
        )
        _draw_gains(right, shown)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=2)


def _draw_gains(axes: "Axes", shown: Sequence[ClassScore]) -> None:
    """Draw a bar from 0 to the difference of each class, with its number."""
    gains = np.array([one.gain for one in shown])
    axes.barh(np.arange(len(shown)), gains, height=0.55, color=[GAIN if gain > 0 else LOSS for gain in gains])
    for row, gain in enumerate(gains):
        side = 1 if gain >= 0 else -1
        axes.annotate(
            f"{gain:+.1f}".replace("-", "−"),
            (gain, row),
            xytext=(4 * side, 0),
            textcoords="offset points",
            va="center",
            ha="left" if side > 0 else "right",
            fontsize=8,
        )
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.2)
    axes.set_xlabel("difference, percentage points")
