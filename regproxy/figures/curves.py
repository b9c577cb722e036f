"""The training of a table's variants: loss and validation mIoU against the step."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regproxy.config.profile import Profile, Table
from regproxy.drawing.style import line_style, plot
from regproxy.figures.names import row_texts
from regproxy.report.aggregate import Score, Scores
from regproxy.report.layout import Picture, data_title
from regproxy.runs.history import read_history

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAX_POINTS = 150  # longer curves are averaged to this many points
_START = 0.1  # the share of the steps whose loss may lie above the axis
_METRICS = {"loss": "loss", "val_miou": "validation mIoU, %"}  # key of the history -> name of the axis

Points = Sequence[tuple[int, float]]  # step and value


@dataclass(frozen=True)
class Curve:
    """A variant's loss and validation mIoU by seed. `steps` is the length of the training.

    `points` has, for each metric, the curve of each seed that measured it; the median seed is the first.
    """

    label: str
    group: str
    steps: int
    points: Mapping[str, Sequence[Points]]


def draw_curves(profile: Profile, scores: Scores, out: Path) -> list[Picture]:
    """Draw the training of each table's variants on each data set; return the pictures.

    The files are `curves-<table>-<data set>.png` in the existing folder `out`. A table without any scored run
    that left a curve has none.
    """
    pictures = []
    for table in profile.tables:
        for data in profile.datasets:
            curves = table_curves(table, scores, data.name)
            if curves:
                path = out / f"curves-{table.name}-{data.name}.png"
                _draw(curves, path)
                caption = f"{table.title}, training on {data_title(profile, data)}. {_explanation(curves)}"
                pictures.append(Picture(f"{out.name}/{path.name}", caption))
    return pictures


def table_curves(table: Table, scores: Scores, dataset: str) -> list[Curve]:
    """Return the curves of a table's variants on a data set, in the order of its rows."""
    groups = {row.variant: row.group for row in reversed(table.rows)}
    curves = []
    for variant, label in row_texts(table).items():
        score = scores.get((variant, dataset))
        if score and score.trials and (points := _read(score)):
            curves.append(Curve(label, groups[variant], score.variant.recipe.steps, points))
    return curves


def loss_limit(curves: Sequence[Curve]) -> float | None:
    """Return the upper end of an axis of losses: the largest loss after the first tenth of each training.

    None without any loss.
    """
    late = [
        loss
        for curve in curves
        for seed in curve.points.get("loss", ())
        for step, loss in _thinned(seed)
        if step > _START * curve.steps
    ]
    return 1.05 * max(late) if late else None


def _read(score: Score) -> dict[str, list[Points]]:
    """Return the curves of a variant's scored runs by metric; only metrics that a run measured.

    A curve of validations ends with the score of the trained network.
    """
    found: dict[str, list[Points]] = {}
    for seed in sorted(score.trials, key=lambda seed: seed != score.median_seed):
        history = read_history(score.trials[seed].run_dir / "metrics.jsonl")
        for key in _METRICS:
            factor = 100 if key == "val_miou" else 1
            if points := [(entry["step"], factor * entry[key]) for entry in history if key in entry]:
                if key == "val_miou" and points[-1][0] < score.variant.recipe.steps:
                    points.append((score.variant.recipe.steps, score.trials[seed].metrics["miou"]))
                found.setdefault(key, []).append(points)
    return found


def _draw(curves: Sequence[Curve], path: Path) -> None:
    """Draw one row of panels for each group of the table's rows: loss, and mIoU if there are validations."""
    groups = list(dict.fromkeys(curve.group for curve in curves))
    metrics = [key for key in _METRICS if any(key in curve.points for curve in curves)]
    with plot(path, 4.4 * max(len(metrics), 1.3) + 0.2, 3.2 * len(groups)) as figure:
        for row, group in enumerate(groups):
            members = [curve for curve in curves if curve.group == group]
            for column, metric in enumerate(metrics, start=1):
                axes = figure.add_subplot(len(groups), len(metrics), row * len(metrics) + column)
                for index, curve in enumerate(members):
                    _draw_seeds(axes, curve, metric, line_style(index))
                axes.set_xlabel("step")
                axes.set_ylabel(_METRICS[metric])
                axes.set_xlim(0, 1.02 * max(curve.steps for curve in members))
                if metric == "loss":
                    axes.set_ylim(top=loss_limit(members))
                if column == 1:
                    axes.legend(loc="upper right" if metric == "loss" else "lower right", fontsize=8)


def _draw_seeds(axes: "Axes", curve: Curve, metric: str, style: dict[str, str]) -> None:
    seeds = curve.points.get(metric, ())
    for number, seed in enumerate(seeds):
        steps, values = np.array(_thinned(seed)).T
        if number == 0:  # the median seed
            every = max(len(steps) // 8, 1)
            axes.plot(steps, values, label=curve.label, linewidth=1.7, markersize=4, markevery=every, **style)
        else:
            faint = style | {"marker": "" if len(steps) > 1 else style["marker"]}
            axes.plot(steps, values, linewidth=0.7, alpha=0.35, markersize=3, **faint)


def _thinned(points: Points) -> list[tuple[float, float]]:
    """Return at most _MAX_POINTS steps and values: the means of as many groups of neighbours."""
    groups = np.array_split(np.array(points, np.float64), min(len(points), _MAX_POINTS))
    return [tuple(group.mean(axis=0)) for group in groups]


def _explanation(curves: Sequence[Curve]) -> str:
    seeds = max(len(seeds) for curve in curves for seeds in curve.points.values())
    losses = [seed for curve in curves for seed in curve.points.get("loss", ())]
    sentences = ["Bold: the seed with the median score. Faint: the other seeds."] if seeds > 1 else []
    if losses:
        steps = max(math.ceil(points[-1][0] / min(len(points), _MAX_POINTS)) for points in losses)
        sentences.append(
            f"Each point of a loss is the mean over about {steps} steps, without other smoothing. The axis "
            "ends at the largest loss after the first tenth of the training."
        )
    if any("val_miou" in curve.points for curve in curves):
        sentences.append("A curve of mIoU ends with the score of the trained network.")
    return " ".join(sentences)
