"""Lines of scores: which variants a line joins, and panels of lines with the range of the seeds."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regproxy.config.profile import Profile
from regproxy.config.variant import Variant
from regproxy.drawing.style import line_style
from regproxy.report.aggregate import Score, Scores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_COLUMNS = 3
_PANEL = (4.4, 3.4)  # width and height of a panel, inches


@dataclass(frozen=True)
class Family:
    """RegProxy variants on one data set that differ only in their region, coarse to fine, and their baseline.

    `baseline` is the linear baseline of the same architecture, None if there is none.
    """

    arch: str
    members: tuple[Score, ...]
    baseline: Score | None


def families(profile: Profile, scores: Scores, dataset: str) -> list[Family]:
    """Return one family of each architecture on a data set: the one with the most regions.

    The model, recipe and evaluation of its members are equal but for the region, so a variant with another
    convolution, pre-training or loss is in another family. Of families of equal size, the first in the
    profile counts. As in the tables, a variant without a score of every seed is left out.
    """
    variants = [variant for variant in profile.variants if variant.data.name == dataset]
    complete = {
        variant.name: score
        for variant in variants
        if (score := scores.get((variant.name, dataset))) and score.summary()
    }
    groups: dict[tuple, list[Score]] = {}
    baselines: dict[str, Score] = {}
    for variant in variants:
        if score := complete.get(variant.name):
            if variant.model.head == "regproxy":
                groups.setdefault(_all_but_region(variant), []).append(score)
            elif variant.model.head == "linear":
                baselines.setdefault(variant.model.arch, score)
    largest: dict[str, list[Score]] = {}
    for members in groups.values():
        arch = members[0].variant.model.arch
        if len(members) > len(largest.get(arch, ())):
            largest[arch] = sorted(members, key=lambda score: score.variant.model.region)
    return [Family(arch, tuple(members), baselines.get(arch)) for arch, members in largest.items()]


def token_side(variant: Variant) -> int:
    """Return the side of a token in pixels. The network is built without weights to find out."""
    import torch

    from regproxy.model.build import build

    with torch.device("meta"):
        return build(variant).patch


def _all_but_region(variant: Variant) -> tuple:
    model = dataclasses.replace(variant.model, region=(1, 1))
    return model, variant.recipe, variant.evaluation


@dataclass(frozen=True)
class Line:
    """A family's scores with their x, and the x of its baseline; None if it has no baseline.

    Lines of one `index` look alike in all panels.
    """

    family: Family
    index: int
    points: Sequence[tuple[float, Score]]
    baseline_x: float | None

    @property
    def colour(self) -> str:
        return line_style(self.index)["color"]

    @property
    def every_point(self) -> list[tuple[float, Score]]:
        """The points and, first, the baseline."""
        first = [] if self.baseline_x is None else [(self.baseline_x, self.family.baseline)]
        return [*first, *self.points]


Panels = Mapping[str, Sequence[Line]]  # title -> lines


def figure_size(panels: Panels) -> tuple[float, float]:
    """Return width and height of the figure of some panels, in inches."""
    columns = _columns(panels)
    return columns * _PANEL[0] + 0.2, -(-len(panels) // columns) * _PANEL[1]


def draw_panels(figure: "Figure", panels: Panels) -> Iterator[tuple["Axes", Sequence[Line]]]:
    """Draw each panel and yield its axes and lines, to add to it; then add a legend of all lines."""
    columns = _columns(panels)
    entries = {}
    for position, (title, lines) in enumerate(panels.items(), start=1):
        axes = figure.add_subplot(-(-len(panels) // columns), columns, position)
        axes.set_title(title)
        axes.set_ylabel("mIoU, %")
        for line in lines:
            _draw(axes, line)
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
        yield axes, lines
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=4)


def explanation(panels: Panels) -> str:
    """Return sentences that say what markers, bars and lines mean."""
    every = [line for lines in panels.values() for line in lines]
    sentences = ["A marker is the median over the seeds, a thin bar their range."]
    if any(len(line.points) > 1 for line in every):
        sentences.append("A line joins variants that differ in nothing but their region.")
    if any(line.baseline_x is not None for line in every):
        sentences.append("A hollow square is the linear baseline.")
    return " ".join(sentences)


def _columns(panels: Panels) -> int:
    return 2 if len(panels) in (2, 4) else min(len(panels), _MAX_COLUMNS)


def _draw(axes: "Axes", line: Line) -> None:
    style = line_style(line.index) | {"markersize": 5}
    _draw_points(axes, line.points, f"RegProxy-{line.family.arch}", style)
    if line.baseline_x is not None:
        hollow = {"marker": "s", "markersize": 7, "markerfacecolor": "none", "linestyle": "none"}
        baseline = [(line.baseline_x, line.family.baseline)]
        _draw_points(axes, baseline, f"linear {line.family.arch}", style | hollow)


def _draw_points(axes: "Axes", points: Sequence[tuple[float, Score]], label: str, style: dict) -> None:
    medians, lows, highs = zip(*(score.summary() for _, score in points), strict=True)
    places = [x for x, _ in points]
    axes.vlines(places, lows, highs, color=style["color"], linewidth=1.0, alpha=0.6)
    axes.plot(places, medians, label=label, linewidth=1.8, **style)
