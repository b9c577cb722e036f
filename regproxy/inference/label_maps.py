"""Predict label maps of a user's own images with a trained model."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from regproxy.data.labels import palette
from regproxy.errors import ConfigError
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.inference.image_files import (
    check_free,
    find_images,
    output_path,
    process_images,
    save_picture,
    write_classes,
)
from regproxy.model.device import named_device
from regproxy.runs.saved_model import load_model, load_variant

_LABELS, _OVERLAY = ".png", "-overlay.jpg"


def predict_files(
    run: str | os.PathLike,
    inputs: Sequence[Path],
    out: Path,
    *,
    device: str | torch.device = "cpu",
    multi_scale: bool = False,
    overlay: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Predict images with the model in a run folder and return one message for each image that failed.

    Write `<name>.png` to `out` for each image, in the image's size: pixels are train ids, the palette has the
    colours of the classes. `classes.csv` lists ids, names and colours. A photo with an EXIF orientation is
    labelled upright, as viewers show it. Each file is complete or absent. Earlier predictions are replaced,
    other files never.

    Args:
        run: folder with run.json and model.safetensors, from `ablate` or `regproxy import-official`.
        inputs: images and folders. Images below a folder keep their relative paths below `out`.
        out: output folder; created if it is missing.
        device: where the model runs.
        multi_scale: average over the ratios of the variant's evaluation, each also flipped.
        overlay: also write `<name>-overlay.jpg`, the mean of image and colours.
        progress: called after every image with (finished images, all images).

    Raises:
        ConfigError: the device cannot be used, or the variant has no multi-scale ratios.
        DataError: the run or an input is missing, a folder has no images, two images have the same output
            path, or an output path is taken by another file.
    """
    variant = load_variant(run)
    if multi_scale and not variant.evaluation.multi_scale_ratios:
        raise ConfigError(f"{run}: its evaluation has no multi_scale_ratios. Predict without --multi-scale.")
    sources = find_images(inputs, out, (_LABELS, _OVERLAY))
    written = (_LABELS, _OVERLAY) if overlay else (_LABELS,)
    check_free([output_path(base, ending) for ending in written for base in sources], out, "label maps")
    model, colours = load_model(run, named_device(device)), palette(variant.data)
    write_classes(variant, colours, out)
    predict_image = predict_multi_scale if multi_scale else predict
    settings = {
        "evaluation": variant.evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }

    def label(image: np.ndarray, base: Path) -> None:
        ids = predict_image(model, image, **settings)
        labels = Image.fromarray(ids)
        labels.putpalette(colours.tobytes())
        save_picture(labels, output_path(base, _LABELS), "PNG")
        if overlay:
            blend = (image.astype(np.uint16) + colours[ids]) // 2
            save_picture(Image.fromarray(blend.astype(np.uint8)), output_path(base, _OVERLAY), "JPEG")

    return process_images(sources, label, progress)
