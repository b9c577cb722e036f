"""Predict label maps of a user's own images with a trained model."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from regproxy.config.variant import Evaluation
from regproxy.errors import ConfigError
from regproxy.eval.sliding import predict, predict_multi_scale, predict_with_confidence
from regproxy.inference.image_files import ImageFiles, check_free, find_images, output_path
from regproxy.inference.image_workers import process_images
from regproxy.inference.load import load
from regproxy.inference.outputs import ENDINGS, Outputs
from regproxy.inference.trained_model import TrainedModel

Labels = tuple[np.ndarray, np.ndarray | None]


def predict_files(
    source: str | os.PathLike,
    inputs: Sequence[Path],
    out: Path,
    *,
    device: str | torch.device | None = None,
    scales: Sequence[float] | None = None,
    overlay: bool = False,
    confidence: bool = False,
    save_ids: str | None = None,
    image_range: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ImageFiles, list[str]]:
    """Predict images with a trained model; return the files found and a message for each image that failed.

    Write the files of `Outputs` to `out` for each image, in the image's size, and `classes.csv` with ids,
    names and colours. A photo with an EXIF orientation is labelled upright, as viewers show it. Each file is
    complete or absent. Earlier predictions are replaced, other files never.

    Args:
        source: of the model, as for `regproxy.load`.
        inputs: images and folders. Images below a folder keep their relative paths below `out`.
        out: output folder; created if it is missing.
        device: where the model runs; by default the GPU if there is one.
        scales: ratios to average over, each also flipped; empty for those of the model's evaluation, None for
            a single scale without flips.
        overlay, confidence, save_ids: see `Outputs`.
        image_range: the values of 16-bit and float images that become 0 and 255.
        progress: called after every image with (finished images, all images).

    Raises:
        ConfigError: the device, a scale or `save_ids` cannot be used.
        DataError: the model or an input is missing, a folder has no images, two images have the same output
            path, or an output path is taken by another file.
    """
    files = find_images(inputs, out, ENDINGS)
    model = load(source, device)
    outputs = Outputs(model.classes, model.palette, overlay, confidence, save_ids)
    evaluation = scaled_evaluation(model.variant.evaluation, scales)
    paths = [output_path(base, ending) for ending in outputs.endings for base in files.sources]
    check_free(paths, out, "label maps")
    outputs.write_classes(out)

    def label(image: np.ndarray) -> Labels:
        return predict_image(model, image, evaluation, multi_scale=scales is not None, confidence=confidence)

    def write(image: np.ndarray, result: Labels, base: Path) -> None:
        outputs.write(image, *result, base)

    return files, process_images(
        files.sources, label, write, device=model.device, image_range=image_range, progress=progress
    )


def predict_image(
    model: TrainedModel, image: np.ndarray, evaluation: Evaluation, *, multi_scale: bool, confidence: bool
) -> Labels:
    """Return the class of every pixel, (X, Y), and its probability, float32 (X, Y), if it is asked for.

    Args:
        image: (X, Y, 3), uint8 RGB.
        evaluation: scale, window and stride, and the ratios of `multi_scale`.
    """
    recipe = model.variant.recipe
    settings = {"evaluation": evaluation, "mean": recipe.image_mean, "std": recipe.image_std}
    if confidence:
        return predict_with_confidence(model.network, image, **settings, multi_scale=multi_scale)
    return (predict_multi_scale if multi_scale else predict)(model.network, image, **settings), None


def scaled_evaluation(evaluation: Evaluation, scales: Sequence[float] | None) -> Evaluation:
    """Return an evaluation with `scales` as its ratios; without any, those that it has.

    Raises:
        ConfigError: a scale is not positive, or there are none.
    """
    if scales:
        return replace(evaluation, multi_scale_ratios=tuple(scales))
    if scales is not None and not evaluation.multi_scale_ratios:
        raise ConfigError(
            "the model's evaluation has no multi_scale_ratios. Give ratios: --scales 0.75 1 1.25"
        )
    return evaluation
