"""A trained model on a user's own images: label maps as they are trained on, and pictures to look at."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from regproxy.config.variant import Variant
from regproxy.data.pairs import palette
from regproxy.data.prepare import decode_image
from regproxy.errors import DataError
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.runs.saved_model import load_model, load_variant

SUFFIXES = (".jpg", ".jpeg", ".png")
_CLASSES, _HEAD = "classes.csv", ("id", "class", "colour")


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
    """Predicts images with the model of a run's folder; returns what was wrong with those left out.

    For each image, `out` gets `<name>.png` of its size: pixels are train ids, the palette has the classes'
    colours. `classes.csv` beside them says which is which. A photo that a turned camera took is labelled
    upright, as it is shown. A file is whole or not there; earlier predictions are replaced, nothing else.

    Args:
        run: has run.json and model.safetensors, as `ablate` and `import-official` leave them.
        inputs: images, and folders whose images, in folders below too, keep their places below `out`.
        out: a folder, made if need be.
        device: where the model runs.
        multi_scale: average over the ratios of the variant's evaluation and their mirror images.
        overlay: also write `<name>-overlay.jpg`, half image, half colours.
        progress: called after every image with (images done, images in all).

    Raises:
        ValueError: no such run or device, inputs that are missing, without images or would be written to
            one file, `out` holds files of others by such names, or the variant has no such ratios.
    """
    variant = load_variant(run)
    if multi_scale and not variant.evaluation.multi_scale_ratios:
        raise ValueError(f"{run}: its profile gives evaluation no multi_scale_ratios, predict at one scale")
    places = _places(inputs, out)
    _check_free([*places, *(map(overlay_of, places) if overlay else ())], out)
    model, colours = load_model(run, _device(device)), palette(variant.data)
    out.mkdir(parents=True, exist_ok=True)
    _write_classes(variant, colours, out / _CLASSES)
    ask = predict_multi_scale if multi_scale else predict
    how = {
        "evaluation": variant.evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }
    problems = []
    for done, (place, source) in enumerate(places.items(), start=1):
        try:
            image = decode_image(source.read_bytes(), upright=True)
        except (OSError, DataError) as error:
            problems.append(f"{source}: {error}")
        else:
            ids = ask(model, image, **how)
            labels = Image.fromarray(ids)
            labels.putpalette(colours.tobytes())
            place.parent.mkdir(parents=True, exist_ok=True)
            _save(labels, place)
            if overlay:
                mixed = (image.astype(np.uint16) + colours[ids]) // 2
                _save(Image.fromarray(mixed.astype(np.uint8)), overlay_of(place))
        if progress is not None:
            progress(done, len(places))
    return problems


def overlay_of(place: Path) -> Path:
    """Returns where the picture beside a label map stands."""
    return place.with_name(f"{place.stem}-overlay.jpg")


def _places(inputs: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Returns for each label map to be written the image that it is of."""
    places: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            names = {
                path: path.relative_to(given)
                for path in sorted(given.rglob("*"))
                if _is_image(path, given, out)
            }
            if not names:
                raise ValueError(f"{given} has no images ({', '.join(SUFFIXES)}), give another folder")
        elif given.exists():
            names = {given: Path(given.name)}
        else:
            raise ValueError(f"{given} is missing, give images or folders of images")
        for source, name in names.items():
            place = out / name.with_suffix(".png")
            if place in places and places[place] != source:
                raise ValueError(f"{places[place]} and {source} would both be {place}, predict them apart")
            places[place] = source
    taken = {place.resolve() for place in places} | {overlay_of(place).resolve() for place in places}
    for source in places.values():
        if source.resolve() in taken:
            raise ValueError(
                f"{source} would be overwritten by a prediction, choose another folder than {out}"
            )
    return places


def _is_image(path: Path, given: Path, out: Path) -> bool:
    """Whether a file below a given folder is to be predicted: neither hidden nor an earlier prediction."""
    wanted = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    inside = given.resolve() in out.resolve().parents
    return wanted and not (inside and out.resolve() in path.resolve().parents)


def _check_free(places: Sequence[Path], out: Path) -> None:
    """Raises ValueError if files stand in the way that this did not write, as `classes.csv` tells."""
    above = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    if not above.is_dir():
        raise ValueError(f"{above} is a file, choose a folder for the label maps")
    try:
        ours = (out / _CLASSES).read_text().startswith(",".join(_HEAD))
    except (FileNotFoundError, UnicodeDecodeError):
        ours = False
    taken = [] if ours else [place for place in (*places, out / _CLASSES) if place.exists()]
    if taken:
        raise ValueError(f"{taken[0]} is there already and no prediction, choose another folder than {out}")


def _device(name: str | torch.device) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f"device {name} cannot be used ({str(error).splitlines()[0]}), try cpu or cuda"
        ) from None
    return device


def _write_classes(variant: Variant, colours: np.ndarray, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_HEAD)
        for number, (name, colour) in enumerate(zip(variant.data.classes, colours, strict=True)):
            writer.writerow((number, name, "#{:02x}{:02x}{:02x}".format(*colour)))
    os.replace(temporary, path)


def _save(picture: Image.Image, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.tmp{path.suffix}")
    picture.save(temporary)
    os.replace(temporary, path)
