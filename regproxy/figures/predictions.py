"""The qualitative pictures: an image, its label, and for each variant the prediction and its errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from regproxy.config.dataset import IGNORE_LABEL, DataConfig
from regproxy.config.profile import Profile
from regproxy.data.labels import palette
from regproxy.drawing.panels import WRONG, fit, paint_errors, paint_label
from regproxy.drawing.picture_grid import LegendEntry, Pair, box_of, draw_grid
from regproxy.figures.image_choice import Choice, choose_images, image_mious, label_miou
from regproxy.figures.names import short_names
from regproxy.report.aggregate import Score, Scores
from regproxy.report.layout import Picture, data_title

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Prediction:
    """The classes (H, W) of a prediction, and its mIoU over the classes of the label, in percent."""

    classes: np.ndarray
    miou: float


def draw_predictions(
    profile: Profile, scores: Scores, data: DataConfig, *, data_dir: Path, out: Path
) -> list[Picture]:
    """Draw validation images with label and predictions of `profile.pictures.variants`; return the pictures.

    The images are spread evenly over the split; then come those with the largest gains and losses of the
    main variant against the baseline, if the result records have the confusion matrices of single images. A
    variant is shown with its median seed. It is left out if it has no result or its run folder is missing.

    Args:
        profile: gives the variants, and the number of images to spread.
        scores: from `aggregate.collect`.
        data: one of the profile's data sets.
        data_dir: folder of its prepared shards.
        out: existing folder for the files, `prediction-<data set>-<index of the image>.png`.

    Raises:
        DataError: the shards or a run folder are damaged.
    """
    wanted = profile.pictures.variants if profile.pictures else ()
    shown = [scores[name, data.name] for name in wanted if (name, data.name) in scores]
    shown = [score for score in shown if score.trials and score.trials[score.median_seed].run]
    if not shown:
        return []

    from regproxy.data.loader import decode
    from regproxy.data.shards import Shards
    from regproxy.model.device import default_device
    from regproxy.runs.saved_model import load_model

    shards, device, pictures = Shards(data_dir, "val"), default_device(), []
    models = [load_model(score.trials[score.median_seed].run_dir, device) for score in shown]
    gains = _gains(profile, shown, len(shards))
    names = short_names([score.variant for score in shown])
    chosen = [f"{name} {score.median_seed}" for name, score in zip(names.values(), shown, strict=True)]
    explanation = (
        "Each prediction is shown with its wrong pixels; void is grey. The mIoU is over the classes of this "
        f"image's label. Seeds (those with the median score): {', '.join(chosen)}."
    )
    for choice in choose_images(len(shards), profile.pictures.num_images, gains):
        record = shards.read(choice.index)
        image, label = decode(record.image, record.label)
        predictions = {
            score.variant.name: _predict(score, model, image, label)
            for score, model in zip(shown, models, strict=True)
        }
        path = out / f"prediction-{data.name}-{choice.index}.png"
        titled = {f"{names[name]}: mIoU {one.miou:.1f}": one.classes for name, one in predictions.items()}
        _draw(image, label, titled, data, path)
        image_text = f"Validation image {choice.index} of {data_title(profile, data)} ({record.id})"
        caption = f"{image_text}, {_reason(profile, choice, names, predictions)} {explanation}"
        pictures.append(Picture(f"{out.name}/{path.name}", caption))
    return pictures


def _predict(score: Score, model: "nn.Module", image: np.ndarray, label: np.ndarray) -> Prediction:
    from regproxy.eval.metrics import confusion_matrix
    from regproxy.eval.sliding import predict

    variant = score.variant
    statistics = {"mean": variant.recipe.image_mean, "std": variant.recipe.image_std}
    classes = predict(model, image, evaluation=variant.evaluation, **statistics)
    counts = confusion_matrix(classes, label, num_classes=variant.data.num_classes, ignore_label=IGNORE_LABEL)
    return Prediction(
        classes, 100 * float(label_miou(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)))
    )


def _gains(profile: Profile, shown: Sequence[Score], num_images: int) -> np.ndarray | None:
    """Return the difference in mIoU of main and baseline on each image; None if it is not known."""
    by_name = {score.variant.name: score for score in shown}
    pair = [by_name.get(name) for name in (profile.pictures.baseline, profile.pictures.main)]
    if None in pair or pair[0] is pair[1]:
        return None
    confusions = [score.trials[score.median_seed].image_confusions() for score in pair]
    if any(one is None or one.num_images != num_images for one in confusions):
        return None
    baseline, main = map(image_mious, confusions)
    return main - baseline


def _draw(
    image: np.ndarray, label: np.ndarray, predictions: Mapping[str, np.ndarray], data: DataConfig, path: Path
) -> None:
    """Write the picture of an image, its label and predictions by title, with the classes that occur."""
    box, colours = box_of(label.shape), palette(data)
    image, label = fit(image, box), fit(label, box)
    pairs, classes = [Pair("image and label", image, paint_label(label, colours))], set(np.unique(label))
    for title, full_size in predictions.items():
        prediction = fit(full_size, box)
        classes |= set(np.unique(prediction))
        pairs.append(Pair(title, paint_label(prediction, colours), paint_errors(image, label, prediction)))
    legend: list[LegendEntry] = [(data.classes[k], colours[k]) for k in sorted(classes - {IGNORE_LABEL})]
    if IGNORE_LABEL in classes:
        legend.append(("void", paint_label(np.full((64, 64), IGNORE_LABEL, np.uint8), colours)))
    draw_grid(pairs, [*legend, ("wrong", WRONG)], path)


def _reason(
    profile: Profile, choice: Choice, names: Mapping[str, str], predictions: Mapping[str, Prediction]
) -> str:
    """Return why an image is shown, as the end of a sentence."""
    if choice.reason == "spread":
        return "one of those that are spread evenly over the split."
    main, baseline = profile.pictures.main, profile.pictures.baseline
    side = "over" if choice.reason == "gain" else "against"
    article = "the " * (names[baseline].startswith("linear"))
    return (
        f"chosen for the {choice.superlative} of {names[main]} {side} {article}{names[baseline]}: "
        f"mIoU {predictions[main].miou:.1f} against {predictions[baseline].miou:.1f}."
    )
