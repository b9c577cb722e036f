"""Predict label maps of a user's own images with a trained model."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from regproxy.config.variant import Variant
from regproxy.data.pairs import palette
from regproxy.data.prepare import decode_image
from regproxy.errors import ConfigError, DataError
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.model.device import named_device
from regproxy.runs.saved_model import load_model, load_variant
from regproxy.storage.atomic import atomic_file

SUFFIXES = (".jpg", ".jpeg", ".png")
_CLASSES_FILE, _CLASSES_HEAD = "classes.csv", ("id", "class", "colour")


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
    sources = _sources(inputs, out)
    _check_free([*sources, *(map(overlay_path, sources) if overlay else ())], out)
    model, colours = load_model(run, named_device(device)), palette(variant.data)
    _write_classes(variant, colours, out / _CLASSES_FILE)
    predict_image = predict_multi_scale if multi_scale else predict
    settings = {
        "evaluation": variant.evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }
    problems = []
    for done, (label_map, source) in enumerate(sources.items(), start=1):
        try:
            image = decode_image(source.read_bytes(), upright=True)
        except (OSError, DataError) as error:
            problems.append(f"{source}: {error}")
        else:
            ids = predict_image(model, image, **settings)
            labels = Image.fromarray(ids)
            labels.putpalette(colours.tobytes())
            _save(labels, label_map, "PNG")
            if overlay:
                blend = (image.astype(np.uint16) + colours[ids]) // 2
                _save(Image.fromarray(blend.astype(np.uint8)), overlay_path(label_map), "JPEG")
        if progress is not None:
            progress(done, len(sources))
    return problems


def overlay_path(label_map: Path) -> Path:
    """Return the path of the picture that belongs to a label map."""
    return label_map.with_name(f"{label_map.stem}-overlay.jpg")


def skipped_files(inputs: Sequence[Path], out: Path) -> list[Path]:
    """Return the files in the given folders that `predict_files` does not read because of their suffix."""
    return [
        path
        for folder in inputs
        if folder.is_dir()
        for path in _files_below(folder, out)
        if path.suffix.lower() not in SUFFIXES
    ]


def _sources(inputs: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Return the image of each label map that will be written, by the path of the label map."""
    sources: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            images = [path for path in _files_below(given, out) if path.suffix.lower() in SUFFIXES]
            names = {path: path.relative_to(given) for path in images}
            if not names:
                raise DataError(f"{given} has no images ({', '.join(SUFFIXES)}). Give another folder.")
        elif given.exists():
            names = {given: Path(given.name)}
        else:
            raise DataError(f"{given} is missing. Give images or folders of images.")
        for source, name in names.items():
            label_map = out / name.with_suffix(".png")
            other = sources.setdefault(label_map, source)
            if other != source:
                raise DataError(f"{other} and {source} would both be {label_map}. Predict them separately.")
    outputs = {path.resolve() for label_map in sources for path in (label_map, overlay_path(label_map))}
    for source in sources.values():
        if source.resolve() in outputs:
            raise DataError(
                f"{source} would be overwritten by a prediction. Choose a folder other than {out}."
            )
    return sources


def _files_below(folder: Path, out: Path, ancestors: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files below a folder, also in linked folders, except hidden ones and those below `out`."""
    real = folder.resolve()
    if real in ancestors or (ancestors and real == out.resolve()):
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _files_below(path, out, (*ancestors, real))
        else:
            yield path


def _check_free(outputs: Sequence[Path], out: Path) -> None:
    """Raise DataError if an output path is taken, unless classes.csv shows that `out` has predictions."""
    existing = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    if not existing.is_dir():
        raise DataError(f"{existing} is a file. Choose a folder for the label maps.")
    try:
        has_predictions = (out / _CLASSES_FILE).read_text().startswith(",".join(_CLASSES_HEAD))
    except (FileNotFoundError, UnicodeDecodeError):
        has_predictions = False
    taken = [] if has_predictions else [path for path in (*outputs, out / _CLASSES_FILE) if path.exists()]
    if taken:
        raise DataError(f"{taken[0]} exists and is not a prediction. Choose a folder other than {out}.")


def _write_classes(variant: Variant, colours: np.ndarray, path: Path) -> None:
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_CLASSES_HEAD)
        for number, (name, colour) in enumerate(zip(variant.data.classes, colours, strict=True)):
            writer.writerow((number, name, "#{:02x}{:02x}{:02x}".format(*colour)))


def _save(picture: Image.Image, path: Path, kind: str) -> None:
    with atomic_file(path) as temporary:
        picture.save(temporary, format=kind)
