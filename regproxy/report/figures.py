"""The pictures of a report: predictions beside the label, and training curves.

Only `predictions` loads models and images; the rest is read from the records.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from regproxy.config.profile import Profile
from regproxy.config.variant import IGNORE_LABEL, DataConfig
from regproxy.data.pairs import palette
from regproxy.report.aggregate import Score, Scores
from regproxy.report.drawing import Curve, Panel, draw, draw_curves, paint_label
from regproxy.report.layout import row_label
from regproxy.runs.history import read_history


def training_curves(scores: Scores, data: DataConfig, path: Path) -> bool:
    """Draws the curves of every variant on a data set, the median seed in bold; returns whether it did."""
    found = [score for (_, name), score in scores.items() if name == data.name and score.outcomes]
    loss, miou = (_curves(found, *what) for what in (("loss", 1.0), ("val_miou", 100.0)))
    if loss:
        draw_curves(f"Training on {data.name}", loss, miou, path)
    return bool(loss)


def predictions(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path, out: Path
) -> list[Path]:
    """Draws validation images with label and predictions of `profile.pictures.variants`; returns the files.

    The images are spread evenly over the split, whatever the results. A variant shows its median seed, and
    is left out while it has no result or the run is not here.

    Args:
        profile: gives the pictures wanted and the labels of the variants.
        scores: from `aggregate.collect`.
        data: the data set, one of the profile's.
        data_dir: its prepared shards.
        out: an existing directory, for `<data set>-<number>.png`.
    """
    wanted = profile.pictures.variants if profile.pictures else ()
    found = [scores[name, data.name] for name in wanted if (name, data.name) in scores]
    found = [score for score in found if score.outcomes and score.outcomes[score.median_seed].run]
    if not found:
        return []

    import torch

    from regproxy.data.loader import decode
    from regproxy.data.shards import Shards
    from regproxy.eval.metrics import confusion_matrix, mean_iou
    from regproxy.eval.sliding import predict
    from regproxy.runs.saved_model import load_model

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
        recipe = score.variant.recipe
        how = {"evaluation": score.variant.evaluation, "mean": recipe.image_mean, "std": recipe.image_std}
        for (image, label), row, classes in zip(samples, panels, present, strict=True):
            prediction = predict(model, image, **how)
            miou = 100 * mean_iou(confusion_matrix(prediction, label, **kinds))
            title = f"{row_label(profile, score.variant.name)} (mIoU {miou:.1f})"
            row.append(Panel(title, paint_label(prediction, colours)))
            classes |= set(np.unique(prediction))
    paths = [out / f"{data.name}-{number}.png" for number in range(1, len(panels) + 1)]
    for path, row, classes in zip(paths, panels, present, strict=True):
        shown = [(data.classes[k], colours[k]) for k in sorted(classes - {IGNORE_LABEL})]
        draw(row, shown + [("void", None)] * (IGNORE_LABEL in classes), path)
    return paths


def spread(length: int, count: int) -> list[int]:
    """Returns `count` indices below `length`, all of them if there are no more, evenly spread."""
    count = min(count, length)
    return [(2 * index + 1) * length // (2 * count) for index in range(count)]


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
            curves.append(Curve(score.variant.name, points, tuple(runs.values())))
    return curves
