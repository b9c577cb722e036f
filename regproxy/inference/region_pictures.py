"""Draw the regions that a trained model learned, on a user's own images."""

import csv
import os
import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.drawing.regions import border_lines, draw_heat, enlarged
from regproxy.errors import ConfigError, DataError
from regproxy.eval.image_regions import ImageRegions, image_regions, token_grid
from regproxy.eval.token_choice import candidates, choose_tokens, classes_by_shape
from regproxy.inference.image_files import (
    ImageFiles,
    check_free,
    find_images,
    output_path,
    save_picture,
    write_classes,
)
from regproxy.inference.image_workers import process_images
from regproxy.inference.load import load
from regproxy.storage.atomic import atomic_file

_BORDERS, _IDS, _HEAT, _TOKENS = "-borders.png", "-regions.png", "-heat.png", "-tokens.csv"
_TOKENS_HEAD = ("id", "row", "column", "y", "x", "class", "entropy", "share", "number")
_MAX_TOKENS = 2**16 - 1  # of which a 16-bit PNG holds the ids
_HEAT_SIDE = 1200  # smaller images are enlarged to about this many pixels, so that names fit


def draw_region_files(
    source: str | os.PathLike,
    inputs: Sequence[Path],
    out: Path,
    *,
    tokens: Sequence[str] = (),
    device: str | torch.device | None = None,
    image_range: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[ImageFiles, list[str]]:
    """Draw the regions of images; return the files found and a message for each image that failed.

    Write four files to `out` for each image, and `classes.csv` as `predict_files` does:

    - `<name>-borders.png`: the image with the borders of its regions. A pixel belongs to the region to which
      it most probably belongs.
    - `<name>-regions.png`: 16 bits a pixel, the id of its region's token: row * columns + column, with the
      columns of the token grid. The grid covers at least one window of the model's evaluation.
    - `<name>-heat.png`: the probability of each pixel to belong to each chosen token, with the tokens' cells
      and classes.
    - `<name>-tokens.csv`: id, row and column of each token of the image, the pixel (y, x) in the centre of
      its cell, its class, the entropy of its classes in nats, the share of the image's pixels in its region,
      and its number in the heat picture.

    Args:
        source, inputs, out, device, image_range, progress: as in `predict_files`.
        tokens: tokens for the heat picture as "row,column"; by default they are chosen by `choose_tokens`
            from the predicted classes.

    Raises:
        ConfigError: the device cannot be used.
        DataError: as in `predict_files`.
    """
    endings = (_BORDERS, _IDS, _HEAT, _TOKENS)
    files = find_images(inputs, out, endings)
    check_free([output_path(base, ending) for ending in endings for base in files.sources], out, "pictures")
    model = load(source, device)
    network, evaluation = model.network, model.variant.evaluation
    write_classes(model.classes, range(len(model.classes)), model.palette, out)
    one_at_a_time = threading.Lock()  # Matplotlib draws in one thread

    def find_regions(image: np.ndarray) -> tuple[ImageRegions, list[tuple[int, int]]]:
        size = image.shape[:2]
        _check_number_of_tokens(size, evaluation, network.patch)
        places = [_parse_token(text, size, evaluation, network.patch) for text in tokens]
        recipe = model.variant.recipe
        regions = image_regions(
            network, image, evaluation=evaluation, mean=recipe.image_mean, std=recipe.image_std
        )
        return regions, list(dict.fromkeys(places)) or _choose(regions)

    def draw(image: np.ndarray, found: tuple[ImageRegions, list[tuple[int, int]]], base: Path) -> None:
        with one_at_a_time:
            _write_files(found[0], image, found[1], model.classes, base)

    return files, process_images(
        files.sources, find_regions, draw, device=model.device, image_range=image_range, progress=progress
    )


def _check_number_of_tokens(size: tuple[int, int], evaluation: Evaluation, patch: int) -> None:
    rows, columns = token_grid(size, evaluation, patch)
    if rows * columns > _MAX_TOKENS:
        raise DataError(
            f"its {rows} x {columns} tokens are too many: a 16-bit PNG has ids for {_MAX_TOKENS:,}. "
            "Give a part of the image."
        )


def _parse_token(text: str, size: tuple[int, int], evaluation: Evaluation, patch: int) -> tuple[int, int]:
    """Return the row and column of a token given as "row,column"; raise ConfigError if the image has none."""
    rows, columns = (-(-side // patch) for side in rescaled_size(size, evaluation.scale))
    match = re.fullmatch(r"(\d{1,9}),(\d{1,9})", text)
    place = (int(match[1]), int(match[2])) if match else (rows, columns)
    if place[0] >= rows or place[1] >= columns:
        raise ConfigError(
            f"token {text!r} is invalid: the image has {rows} x {columns} tokens, so give row,column from "
            f"0,0 to {rows - 1},{columns - 1}."
        )
    return place


def _choose(regions: ImageRegions) -> list[tuple[int, int]]:
    """Return tokens of an image without a label, from its predicted classes: first those of rare ones.

    In a prediction small classes are easier to find than thin ones, because its borders are uneven.
    """
    predicted = regions.classes.ravel()[regions.pixel_ids()]
    _, large = classes_by_shape([predicted], len(regions.token_logits))
    chosen = choose_tokens([candidates(regions, predicted)], large[::-1], large)
    return [(token.row, token.column) for token in chosen]


def _write_files(
    regions: ImageRegions,
    image: np.ndarray,
    places: Sequence[tuple[int, int]],
    classes: Sequence[str],
    base: Path,
) -> None:
    size = image.shape[:2]
    ids = regions.pixel_ids(size)
    top, _, bottom, _ = regions.cell(0, 0, size)
    borders = Image.fromarray(border_lines(image, ids, bottom - top))
    save_picture(borders, output_path(base, _BORDERS), "PNG")
    save_picture(Image.fromarray(ids.astype(np.uint16)), output_path(base, _IDS), "PNG")
    pixels = enlarged(image, max(_HEAT_SIDE // max(size), 1))
    heat, names = np.zeros(pixels.shape[:2], np.float32), []
    for number, place in enumerate(places, start=1):
        heat = np.maximum(heat, regions.heat(*place, pixels.shape[:2]))
        names.append((f"{number} {classes[regions.classes[place]]}", regions.cell(*place, pixels.shape[:2])))
    with atomic_file(output_path(base, _HEAT)) as temporary:
        draw_heat(pixels, heat, names, temporary)
    _write_tokens(regions, ids, places, classes, output_path(base, _TOKENS))


def _write_tokens(
    regions: ImageRegions,
    ids: np.ndarray,
    places: Sequence[tuple[int, int]],
    classes: Sequence[str],
    path: Path,
) -> None:
    """Write the table of the tokens that lie in the image or whose regions have some of its pixels."""
    rows, columns = regions.grid
    shares = np.bincount(ids.ravel(), minlength=rows * columns) / ids.size
    numbers = {place: number for number, place in enumerate(places, start=1)}
    with atomic_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_TOKENS_HEAD)
        for token in range(rows * columns):
            place = divmod(token, columns)
            top, left, bottom, right = regions.cell(*place, ids.shape)
            if shares[token] or (top < ids.shape[0] and left < ids.shape[1]):
                centre = (f"{(top + bottom) / 2:.1f}", f"{(left + right) / 2:.1f}")
                values = (f"{regions.entropy[place]:.4f}", f"{shares[token]:.6f}", numbers.get(place, ""))
                writer.writerow((token, *place, *centre, classes[regions.classes[place]], *values))
