"""The pictures of a report: predictions beside the label, and training curves.

Only `predictions` loads models and images; the curves come from the run folders.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regproxy.config.profile import Profile
from regproxy.config.variant import IGNORE_LABEL, DataConfig
from regproxy.data.pairs import palette
from regproxy.figures.drawing import Curve, Panel, draw_curves, draw_panels, paint_label
from regproxy.report.aggregate import Score, Scores
from regproxy.report.layout import Picture, row_label
from regproxy.runs.history import read_history


def training_curves(scores: Scores, data: DataConfig, *, out: Path) -> list[Picture]:
    """Draw the curves of every variant on a data set, the median seed in bold; return the pictures.

    The file is `curves-<data set>.png` in the existing folder `out`; none if there is no curve to draw.
    """
    scored = [score for (_, name), score in scores.items() if name == data.name and score.trials]
    loss, miou = _curves(scored, "loss", 1.0), _curves(scored, "val_miou", 100.0)
    path = out / f"curves-{data.name}.png"
    if loss:
        draw_curves(f"Training on {data.name}", loss, miou, path)
    caption = f"Training on {data.name}: loss and validation mIoU against the step, median seed in bold."
    return [Picture(f"{out.name}/{path.name}", caption)] if loss else []


def predictions(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path, out: Path
) -> list[Picture]:
    """Draw validation images with label and predictions of `profile.pictures.variants`; return the pictures.

    The images are spread evenly over the split. A variant is shown with its median seed. It is left out if it
    has no result or its run folder is missing.

    Args:
        profile: gives the pictures to draw and the labels of the variants.
        scores: from `aggregate.collect`.
        data: one of the profile's data sets.
        data_dir: folder of its prepared shards.
        out: existing folder for the files, `<data set>-<number>.png`.
    """
    wanted = profile.pictures.variants if profile.pictures else ()
    shown = [scores[name, data.name] for name in wanted if (name, data.name) in scores]
    shown = [score for score in shown if score.trials and score.trials[score.median_seed].run]
    if not shown:
        return []

    from regproxy.data.loader import decode
    from regproxy.data.shards import Shards
    from regproxy.eval.metrics import confusion_matrix, mean_iou
    from regproxy.eval.sliding import predict
    from regproxy.model.device import default_device
    from regproxy.runs.saved_model import load_model

    shards, colours, device, pictures = Shards(data_dir, "val"), palette(data), default_device(), []
    models = [load_model(score.trials[score.median_seed].run_dir, device) for score in shown]
    for number, index in enumerate(spread(len(shards), profile.pictures.num_images), start=1):
        record = shards.read(index)
        image, label = decode(record.image, record.label)
        panels, label_maps = [Panel("image", image), Panel("label", paint_label(label, colours))], [label]
        for score, model in zip(shown, models, strict=True):
            evaluation, recipe = score.variant.evaluation, score.variant.recipe
            statistics = {"mean": recipe.image_mean, "std": recipe.image_std}
            prediction = predict(model, image, evaluation=evaluation, **statistics)
            counts = confusion_matrix(prediction, label, num_classes=len(colours), ignore_label=IGNORE_LABEL)
            title = f"{row_label(profile, score.variant.name)} (mIoU {100 * mean_iou(counts):.1f})"
            panels.append(Panel(title, paint_label(prediction, colours)))
            label_maps.append(prediction)
        present = np.unique(label_maps)
        legend = [(data.classes[k], colours[k]) for k in present if k != IGNORE_LABEL]
        legend += [("void", None)] * (IGNORE_LABEL in present)
        path = out / f"{data.name}-{number}.png"
        draw_panels(panels, legend, path)
        caption = (
            f"Validation image {index} of {data.name}: image, label and predictions of the median seeds."
        )
        pictures.append(Picture(f"{out.name}/{path.name}", caption))
    return pictures


def spread(length: int, count: int) -> list[int]:
    """Return `count` equally distant indices below `length`; all indices if there are fewer than `count`."""
    count = min(count, length)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


def _curves(scores: Sequence[Score], key: str, factor: float) -> list[Curve]:
    curves = []
    for score in scores:
        runs = {}
        for seed, trial in score.trials.items():
            history = read_history(trial.run_dir / "metrics.jsonl")
            runs[seed] = [(entry["step"], factor * entry[key]) for entry in history if key in entry]
        points = runs.pop(score.median_seed)
        if points:
            curves.append(Curve(score.variant.name, points, tuple(runs.values())))
    return curves
