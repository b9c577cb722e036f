"""Score a trained model from any source on any data, with the code of the pipeline's stage `evaluate`."""

import csv
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regproxy.config.variant import Evaluation
from regproxy.errors import DataError
from regproxy.eval import metrics
from regproxy.eval.score import ImageScore, tally_shards
from regproxy.inference.evaluation_data import find_samples, label_ids, match_classes
from regproxy.inference.image_files import check_free
from regproxy.inference.label_maps import scaled_evaluation
from regproxy.inference.load import load
from regproxy.inference.outputs import Outputs
from regproxy.inference.trained_model import TrainedModel
from regproxy.raw.folders import text_of
from regproxy.runs.record import RECORD_FORMAT, read_record
from regproxy.runs.scoring import scores
from regproxy.storage.atomic import atomic_file
from regproxy.storage.json_file import write_json

_RESULT, _IMAGES, _PREDICTIONS = "result.json", "images.csv", "predictions"
_IMAGES_HEAD = ("id", "miou", "pixel_accuracy")


@dataclass(frozen=True)
class Files:
    """What an evaluation writes.

    Attributes:
        out: the folder of result.json, of images.csv with the scores of each image, and of predictions/.
        overlay, save_ids: see `Outputs`; predictions are written if one of them is set.
    """

    out: Path
    overlay: bool = False
    save_ids: str | None = None


def evaluate(
    source: str | os.PathLike,
    place: str,
    *,
    split: str = "val",
    format: str | None = None,
    scales: Sequence[float] | None = None,
    files: Files | None = None,
    device: str | torch.device | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a trained model on a split of a data set and return the record, which is also result.json.

    The record has the keys of the stage's result record that do not belong to a run of the pipeline, and
    `accuracy_per_class`. Data with other classes than the model's are matched by name; then the scores are
    those of the data's classes.

    Args:
        source: of the model, as for `regproxy.load`.
        place, split, format: of the data, see `find_samples`.
        scales: as for `predict_files`; None scores a single scale only.
        files: what is written besides; None for nothing.
        device: where the model runs; by default the GPU if there is one.
        progress: called after every image with (finished images, all images).

    Raises:
        ConfigError: the device, a scale, the split or the format cannot be used.
        DataError: the model or the data cannot be read, their classes do not fit, no pixel is labelled, or
            `out` has files of another program.
    """
    started = time.monotonic()
    model = load(source, device)
    name, samples = find_samples(place, split, model.variant.data, format)
    if not len(samples):
        raise DataError(f"{place} has no images in split {split}. Choose another split.")
    ids = match_classes(samples.classes, model.classes)
    writer = None if files is None else _Writer(files, model)
    variant = replace(model.variant, evaluation=_evaluation(model, scales))
    accuracies = []

    def on_image(score: ImageScore) -> None:
        accuracies.append((score.id, *_of_image(score.matrix, ids)))
        if writer is not None:
            writer.write(score)
        if progress is not None:
            progress(len(accuracies), len(samples))

    tally = tally_shards(
        model.network,
        samples,
        variant,
        range(len(samples)),
        label_ids=None if ids is None else label_ids(ids),
        on_image=on_image,
    )
    if not tally.single_scale.any():
        raise DataError(f"{place} has no labelled pixel in split {split}. Check its labels.")
    accuracy = metrics.accuracy_per_class(tally.single_scale)
    record = {
        "format": RECORD_FORMAT,
        "source": text_of(os.fspath(source)),
        "data": text_of(place),
        "dataset": name,
        "variant": model.variant.name,
        "split": split,
        **scores(tally, ids),
        "accuracy_per_class": [
            None if np.isnan(value) else float(value)
            for value in (accuracy if ids is None else accuracy[ids])
        ],
        "scales": list(variant.evaluation.multi_scale_ratios),
        "classes": list(samples.classes),
        "seconds": round(time.monotonic() - started, 3),
        "scored": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }
    if files is not None:
        _write_images(files.out / _IMAGES, accuracies)
        write_json(files.out / _RESULT, record)
    return record


class _Writer:
    """Writes the predictions of an evaluation, if they are asked for; no file of the user is replaced."""

    def __init__(self, files: Files, model: TrainedModel) -> None:
        result, self._folder = files.out / _RESULT, files.out / _PREDICTIONS
        if result.exists() and "iou_per_class" not in (read_record(result) or {}):
            raise DataError(
                f"{text_of(result)} exists and is no output of regproxy. Choose a folder other than "
                f"{text_of(files.out)}."
            )
        self._outputs = None
        if files.overlay or files.save_ids:
            self._outputs = Outputs(model.classes, model.palette, files.overlay, save_ids=files.save_ids)
            others = [*self._folder.iterdir()] if self._folder.is_dir() else []
            check_free(others, self._folder, "predictions")
            self._outputs.write_classes(self._folder)

    def write(self, score: ImageScore) -> None:
        """Write the prediction of an image below predictions/, at the path of its id."""
        if self._outputs is not None:
            self._outputs.write(score.image, score.prediction, None, self._folder / score.id)


def _evaluation(model: TrainedModel, scales: Sequence[float] | None) -> Evaluation:
    evaluation = model.variant.evaluation
    if scales is None:
        return replace(evaluation, multi_scale_ratios=())
    return scaled_evaluation(evaluation, scales)


def _of_image(matrix: np.ndarray, ids: Sequence[int] | None) -> tuple[float, float]:
    """Return the mean IoU over the classes that occur, and the pixel accuracy, of one image."""
    iou = metrics.iou_per_class(matrix)
    return metrics.mean_of_present(iou if ids is None else iou[list(ids)]), metrics.pixel_accuracy(matrix)


def _write_images(path: Path, rows: Sequence[tuple[str, float, float]]) -> None:
    """Write the table of the images; an image without a labelled pixel has empty scores."""
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_IMAGES_HEAD)
        for id, *values in rows:
            writer.writerow((id, *("" if np.isnan(value) else f"{value:.6f}" for value in values)))
