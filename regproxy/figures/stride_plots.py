"""mIoU against output stride and against GFLOPs: the supplement's Table 1 as two plots."""

from pathlib import Path

from regproxy.config.profile import Profile
from regproxy.drawing.point_labels import label_points
from regproxy.drawing.style import logarithmic_x, plot
from regproxy.figures.lines import Family, Line, draw_panels, explanation, families, figure_size, token_side
from regproxy.figures.names import region_text
from regproxy.report.aggregate import Complexity, Score, Scores
from regproxy.report.layout import Picture, data_title


def draw_strides(profile: Profile, scores: Scores, out: Path) -> list[Picture]:
    """Draw mIoU against the output stride, one panel for each data set.

    The stride is the side of a token divided by the side of the region; regions that are no squares are left
    out. The file is `miou-stride.png` in the existing folder `out`. Return no picture if there are no two
    strides to compare.
    """
    panels = {
        data_title(profile, data): _stride_lines(profile, scores, data.name) for data in profile.datasets
    }
    panels = {name: lines for name, lines in panels.items() if lines}
    if not panels:
        return []
    path = out / "miou-stride.png"
    strides = sorted({x for lines in panels.values() for line in lines for x, _ in line.every_point})
    with plot(path, *figure_size(panels)) as figure:
        for axes, lines in draw_panels(figure, panels):
            for line in lines:
                if line.family.baseline:
                    median = line.family.baseline.median()
                    axes.axhline(median, color=line.colour, linestyle=(0, (1, 2)), linewidth=1.2)
            axes.set_xscale("log", base=2)
            axes.set_xlim(strides[-1] * 2**0.4, strides[0] / 2**0.4)
            axes.set_xticks(strides, [f"{stride:g}" for stride in strides])
            axes.set_xlabel("output stride, pixels")
    caption = f"mIoU against the output stride, the finest on the right. {explanation(panels)}"
    if any(line.baseline_x for lines in panels.values() for line in lines):
        caption += " The baseline predicts once per token; a dotted line shows its score at every stride."
    return [Picture(f"{out.name}/{path.name}", caption)]


def draw_costs(profile: Profile, scores: Scores, complexity: Complexity, out: Path) -> list[Picture]:
    """Draw mIoU against GFLOPs; return no picture if no panel would have two points.

    An architecture with several points has a panel of its own for each data set, because its regions differ
    little in cost; the others share one. The file is `miou-gflops.png` in the existing folder `out`.

    Args:
        complexity: GFLOPs by variant, from `aggregate.read_complexity`; a variant that it lacks is left out.
    """
    panels: dict[str, list[Line]] = {}
    for data in profile.datasets:
        title = data_title(profile, data)
        for index, family in enumerate(families(profile, scores, data.name)):
            line = _cost_line(family, index, complexity)
            alone = len(line.every_point) > 1
            if line.points:
                panels.setdefault(f"{family.arch}, {title}" if alone else title, []).append(line)
    panels = {
        title: lines for title, lines in panels.items() if sum(len(line.every_point) for line in lines) > 1
    }
    if not panels:
        return []
    path = out / "miou-gflops.png"
    drawn = []
    with plot(path, *figure_size(panels)) as figure:
        for axes, lines in draw_panels(figure, panels):
            if len(lines) > 1:
                logarithmic_x(axes)
            axes.set_xlabel("GFLOPs")
            axes.margins(x=0.1, y=0.16)
            drawn.append((axes, lines))
        for axes, lines in drawn:
            every = [(x, score) for line in lines for x, score in line.every_point]
            words = [_word(score, with_arch=len(lines) > 1) for _, score in every]
            label_points(axes, [(x, score.median()) for x, score in every], words)
    caption = (
        "mIoU against GFLOPs, counted as in the paper on 512×512 pixels; the words are the regions h×w. "
        f"Neither axis starts at 0. {explanation(panels)}"
    )
    return [Picture(f"{out.name}/{path.name}", caption)]


def _stride_lines(profile: Profile, scores: Scores, dataset: str) -> list[Line]:
    lines = []
    for index, family in enumerate(families(profile, scores, dataset)):
        square = [score for score in family.members if len(set(score.variant.model.region)) == 1]
        if len(square) > 1:
            side = token_side(square[0].variant)
            points = [(side / score.variant.model.region[0], score) for score in square]
            lines.append(Line(family, index, points, side if family.baseline else None))
    return lines


def _cost_line(family: Family, index: int, complexity: Complexity) -> Line:
    costs = {name: counts["gflops_paper"] for name, counts in complexity.items()}
    points = [(costs[s.variant.name], s) for s in family.members if s.variant.name in costs]
    return Line(family, index, points, family.baseline and costs.get(family.baseline.variant.name))


def _word(score: Score, *, with_arch: bool) -> str:
    if with_arch:
        return score.variant.model.arch
    return region_text(score.variant) if score.variant.model.region else "linear"
