"""The pictures of a report: predictions beside the label, and training curves.

Only `predictions` loads models and images; the curves come from the run folders.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regproxy.config.profile import Profile
from regproxy.config.variant import IGNORE_LABEL, DataConfig
from regproxy.data.pairs import palette
from regproxy.report.aggregate import Score, Scores
from regproxy.report.drawing import Curve, Panel, draw_curves, draw_panels, paint_label
from regproxy.report.layout import row_label
from regproxy.runs.history import read_history


def training_curves(scores: Scores, data: DataConfig, path: Path) -> bool:
    """Draw the curves of every variant on a data set, the median seed in bold.

    Return whether there was a curve to draw; if not, no file is written.
    """
    scored = [score for (_, name), score in scores.items() if name == data.name and score.trials]
    loss, miou = _curves(scored, "loss", 1.0), _curves(scored, "val_miou", 100.0)
    if loss:
        draw_curves(f"Training on {data.name}", loss, miou, path)
    return bool(loss)


def predictions(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path, out: Path
) -> list[Path]:
    """Draw validation images with label and predictions of `profile.pictures.variants`; return the files.

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

    shards = Shards(data_dir, "val")
    records = [shards.read(index) for index in spread(len(shards), profile.pictures.num_images)]
    samples = [decode(record.image, record.label) for record in records]
    colours = palette(data)
    panels = [
        [Panel("image", image), Panel("label", paint_label(label, colours))] for image, label in samples
    ]
    present = [set(np.unique(label)) for _, label in samples]  # values for the legend of each picture
    for score in shown:
        model = load_model(score.trials[score.median_seed].run_dir, default_device())
        evaluation, recipe = score.variant.evaluation, score.variant.recipe
        for (image, label), row, classes in zip(samples, panels, present, strict=True):
            prediction = predict(
                model, image, evaluation=evaluation, mean=recipe.image_mean, std=recipe.image_std
            )
            matrix = confusion_matrix(
                prediction, label, num_classes=data.num_classes, ignore_label=IGNORE_LABEL
            )
            miou = 100 * mean_iou(matrix)
            title = f"{row_label(profile, score.variant.name)} (mIoU {miou:.1f})"
            row.append(Panel(title, paint_label(prediction, colours)))
            classes |= set(np.unique(prediction))
    paths = [out / f"{data.name}-{number}.png" for number in range(1, len(panels) + 1)]
    for path, row, classes in zip(paths, panels, present, strict=True):
        legend = [(data.classes[k], colours[k]) for k in sorted(classes - {IGNORE_LABEL})]
        draw_panels(row, legend + [("void", None)] * (IGNORE_LABEL in classes), path)
    return paths


def spread(length: int, count: int) -> list[int]:
    """Return `count` equally distant indices below `length`; all indices if there are fewer than `count`."""
    count = min(count, length)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


def _curves(scores: Sequence[Score], key: str, factor: float) -> list[Curve]:
    curves = []
    for score in scores:
        runs = {
            seed: [
                (entry["step"], factor * entry[key])
                for entry in read_history(trial.run_dir / "metrics.jsonl")
                if key in entry
            ]
            for seed, trial in score.trials.items()
        }
        points = runs.pop(score.median_seed)
        if points:
            curves.append(Curve(score.variant.name, points, tuple(runs.values())))
    return curves
