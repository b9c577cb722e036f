"""The pictures of a report: predictions beside the label, and training curves.

Drawing is pure, from arrays and numbers to a PNG; only `predictions` loads models and data.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regproxy.config import IGNORE_LABEL, DataConfig
from regproxy.data.datasets import palette
from regproxy.profile import Profile
from regproxy.report.aggregate import Score, Scores
from regproxy.train.history import read_history

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 150
_WIDE = 1.5  # width over height, from which on two panels stand side by side
_MAX_POINTS = 200  # of a curve; longer ones are averaged
_INK, _FAINT = "#222222", "#d9d9d9"


@dataclass(frozen=True)
class Panel:
    """One picture with its title: pixels (H, W, 3) uint8 RGB."""

    title: str
    pixels: np.ndarray


@dataclass(frozen=True)
class Curve:
    """A metric over the training: steps and values of the run that stands for it, and of other seeds."""

    label: str
    points: Sequence[tuple[int, float]]
    others: Sequence[Sequence[tuple[int, float]]] = field(default=())


def paint_label(label: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Returns a label map (H, W) in the colours (K, 3) of its classes: uint8 (H, W, 3), void hatched dark."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    pixels = table[label]
    rows, columns = np.indices(label.shape)
    stripe = max(max(label.shape) // 96, 1)
    hatch = np.where((rows + columns) // stripe % 4 == 0, 110, 45).astype(np.uint8)
    return np.where((label == IGNORE_LABEL)[..., None], hatch[..., None], pixels)


def draw(panels: Sequence[Panel], legend: Sequence[tuple[str, np.ndarray]], path: Path) -> None:
    """Writes panels of one size in a grid with a legend below; wide ones two side by side, else up to five.

    Args:
        panels: at least one.
        legend: names with their colours (3,) uint8.
        path: the PNG to write.
    """
    from matplotlib.patches import Patch

    height, width = panels[0].pixels.shape[:2]
    columns = min(len(panels), 2 if width / height > _WIDE else 5)
    rows = -(-len(panels) // columns)
    panel_width = (10.0 if columns == 2 else 13.0) / max(columns, 2)  # inches
    names_per_row = max(round(columns * panel_width / 1.75), 1)
    legend_height = 0.15 + 0.24 * -(-len(legend) // names_per_row)
    panel_height = panel_width * height / width
    figure_height = rows * (panel_height + 0.34) + legend_height
    figure = _figure(columns * panel_width, figure_height)
    for index, panel in enumerate(panels):
        row, column = divmod(index, columns)
        top = 1 - (row * (panel_height + 0.34) + 0.3) / figure_height
        share = panel_height / figure_height
        axes = figure.add_axes(((column + 0.012) / columns, top - share, 0.976 / columns, share))
        axes.imshow(panel.pixels, interpolation="nearest" if width < 600 else "auto")
        axes.set_title(panel.title, fontsize=11, color=_INK, pad=4)
        axes.set_axis_off()
    patches = [Patch(facecolor=colour / 255, edgecolor=_INK, linewidth=0.4) for _, colour in legend]
    figure.legend(
        patches,
        [name for name, _ in legend],
        loc="lower center",
        ncols=min(names_per_row, max(len(legend), 1)),
        fontsize=9,
        frameon=False,
        handlelength=1.2,
        borderaxespad=0.2,
    )
    _save(figure, path)


def draw_curves(title: str, loss: Sequence[Curve], miou: Sequence[Curve], path: Path) -> None:
    """Writes loss and, where there is any, validation mIoU (percent) against the step, side by side."""
    shown = [(name, curves) for name, curves in (("loss", loss), ("val mIoU, %", miou)) if curves]
    longest = max((len(curve.label) for _, curves in shown for curve in curves), default=0)
    count = max((len(curves) for _, curves in shown), default=0)
    figure = _figure(4.6 * len(shown) + 0.5 + 0.085 * longest, max(3.4, 0.5 + 0.2 * count))
    figure.set_layout_engine("constrained")
    figure.suptitle(title, fontsize=12, color=_INK)
    for place, (name, curves) in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), place)
        for index, curve in enumerate(curves):
            _plot(axes, curve, index)
        axes.set_xlabel("step", color=_INK)
        axes.set_ylabel(name, color=_INK)
        axes.grid(color=_FAINT, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.02)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=9, frameon=False)
    _save(figure, path)


def training_curves(scores: Scores, data: DataConfig, path: Path) -> bool:
    """Draws the curves of every cell on a data set, the median seed in bold; returns whether it did."""
    found = [score for (_, name), score in scores.items() if name == data.name and score.outcomes]
    loss, miou = (_curves(found, *what) for what in (("loss", 1.0), ("val_miou", 100.0)))
    if loss:
        draw_curves(f"Training on {data.name}", loss, miou, path)
    return bool(loss)


def predictions(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path, out: Path
) -> list[Path]:
    """Draws validation images with label and predictions of `profile.pictures.cells`; returns the files.

    The images are spread evenly over the split, whatever the results. A cell shows its median seed, and
    is left out while it has no result.

    Args:
        profile: gives the pictures wanted and the labels of the cells.
        scores: from `aggregate.collect`.
        data: the data set, one of the profile's.
        data_dir: its prepared shards.
        out: an existing directory, for `<data set>-<number>.png`.
    """
    wanted = profile.pictures.cells if profile.pictures else ()
    found = [scores[name, data.name] for name in wanted if (name, data.name) in scores]
    found = [score for score in found if score.outcomes]
    if not found:
        return []

    import torch

    from regproxy.data.loader import decode
    from regproxy.data.shards import Shards
    from regproxy.eval.infer import predict
    from regproxy.eval.metrics import confusion_matrix, mean_iou
    from regproxy.model.network import load_model

    shards = Shards(data_dir, "val")
    records = [shards.read(index) for index in spread(len(shards), profile.pictures.num_images)]
    samples = [decode(record.image, record.label) for record in records]
    colours, kinds = palette(data), {"num_classes": data.num_classes, "ignore_label": IGNORE_LABEL}
    panels = [
        [Panel("image", image), Panel("label", paint_label(label, colours))] for image, label in samples
    ]
    present = [set(np.unique(label)) for _, label in samples]
    for score in found:
        device = "cuda" if torch.cuda.is_available() else "cpu"
        model = load_model(score.outcomes[score.median_seed].run_dir, device)
        recipe = score.cell.recipe
        how = {"evaluation": score.cell.evaluation, "mean": recipe.image_mean, "std": recipe.image_std}
        for (image, label), row, classes in zip(samples, panels, present, strict=True):
            prediction = predict(model, image, **how)
            miou = 100 * mean_iou(confusion_matrix(prediction, label, **kinds))
            title = f"{row_label(profile, score.cell.name)}: {miou:.1f}"
            row.append(Panel(title, paint_label(prediction, colours)))
            classes |= set(np.unique(prediction))
    paths = [out / f"{data.name}-{number}.png" for number in range(1, len(panels) + 1)]
    for path, row, classes in zip(paths, panels, present, strict=True):
        draw(row, [(data.classes[k], colours[k]) for k in sorted(classes - {IGNORE_LABEL})], path)
    return paths


def spread(length: int, count: int) -> list[int]:
    """Returns `count` indices below `length`, all of them if there are no more, evenly spread."""
    count = min(count, length)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


def row_label(profile: Profile, cell: str) -> str:
    """Returns what the first table row of a cell calls it, or else its name."""
    rows = (row for table in profile.tables for row in table.rows)
    return next((row.label for row in rows if row.cell == cell), cell)


def _curves(scores: Sequence[Score], key: str, factor: float) -> list[Curve]:
    curves = []
    for score in scores:
        runs = {
            seed: [
                (entry["step"], factor * entry[key])
                for entry in read_history(outcome.run_dir / "metrics.jsonl")
                if key in entry
            ]
            for seed, outcome in score.outcomes.items()
        }
        points = runs.pop(score.median_seed)
        if points:
            curves.append(Curve(score.cell.name, points, tuple(runs.values())))
    return curves


def _plot(axes: "Axes", curve: Curve, index: int) -> None:
    style = {"color": f"C{index % 10}", "linestyle": ("-", "--", ":", "-.")[index // 10 % 4]}
    for other in filter(None, curve.others):
        axes.plot(*_thinned(other), linewidth=0.8, alpha=0.3, **style)
    marker = "o" if len(curve.points) < 12 else None
    axes.plot(
        *_thinned(curve.points), linewidth=1.8, marker=marker, markersize=3.5, label=curve.label, **style
    )


def _thinned(points: Sequence[tuple[int, float]]) -> np.ndarray:
    """Returns (2, P) steps and values, neighbours averaged so that P stays small."""
    parts = np.array_split(np.array(points, np.float64), min(len(points), _MAX_POINTS))
    return np.stack([part.mean(axis=0) for part in parts], axis=1)


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=_DPI, facecolor="white")


def _save(figure: "Figure", path: Path) -> None:
    # Without the version of matplotlib inside, equal figures are equal files.
    figure.savefig(path, format="png", metadata={"Software": None})
