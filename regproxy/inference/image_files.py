"""What commands with a user's own images share: which files they read, and which they may write."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from regproxy.config.variant import Variant
from regproxy.data.images import decode_image
from regproxy.errors import DataError
from regproxy.storage.atomic import atomic_file

SUFFIXES = (".jpg", ".jpeg", ".png")
_CLASSES_FILE, _CLASSES_HEAD = "classes.csv", ("id", "class", "colour")


def find_images(inputs: Sequence[Path], out: Path, endings: Sequence[str]) -> dict[Path, Path]:
    """Return the images to read, by what their outputs' paths have in common (see `output_path`).

    Args:
        inputs: images and folders. Images below a folder keep their relative paths below `out`.
        out: the output folder.
        endings: the endings of all files that may be written for an image.

    Raises:
        DataError: an input is missing, a folder has no images, two images have the same output path, or an
            output would overwrite an image.
    """
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
            base = out / name.with_suffix("")
            other = sources.setdefault(base, source)
            if other != source:
                path = output_path(base, endings[0])
                raise DataError(f"{other} and {source} would both be {path}. Process them separately.")
    outputs = {output_path(base, ending).resolve() for base in sources for ending in endings}
    for source in sources.values():
        if source.resolve() in outputs:
            raise DataError(f"{source} would be overwritten by an output. Choose a folder other than {out}.")
    return sources


def output_path(base: Path, ending: str) -> Path:
    """Return the path of an output: `base` with `ending`, such as "-overlay.jpg", appended to its name."""
    return base.with_name(base.name + ending)


def check_free(outputs: Sequence[Path], out: Path, product: str) -> None:
    """Raise DataError if an output path is taken, unless classes.csv shows that `out` has predictions.

    Args:
        product: what the outputs are, for the message, such as "label maps".
    """
    existing = next(folder for folder in (out, *out.resolve().parents) if folder.exists())
    if not existing.is_dir():
        raise DataError(f"{existing} is a file. Choose a folder for the {product}.")
    try:
        has_predictions = (out / _CLASSES_FILE).read_text().startswith(",".join(_CLASSES_HEAD))
    except (FileNotFoundError, UnicodeDecodeError):
        has_predictions = False
    taken = [] if has_predictions else [path for path in (*outputs, out / _CLASSES_FILE) if path.exists()]
    if taken:
        raise DataError(f"{taken[0]} exists and is no output of regproxy. Choose a folder other than {out}.")


def process_images(
    sources: Mapping[Path, Path],
    process: Callable[[np.ndarray, Path], str | None],
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Decode each image, turned upright as its EXIF orientation says, and process it; return the problems.

    Args:
        sources: from `find_images`.
        process: called with an image, uint8 (X, Y, 3), and its base; returns a problem with it or None.
        progress: called after every image with (finished images, all images).
    """
    problems = []
    for done, (base, source) in enumerate(sources.items(), start=1):
        try:
            image = decode_image(source.read_bytes(), upright=True)
        except (OSError, DataError) as error:
            problem = str(error)
        else:
            problem = process(image, base)
        if problem is not None:
            problems.append(f"{source}: {problem}")
        if progress is not None:
            progress(done, len(sources))
    return problems


def skipped_files(inputs: Sequence[Path], out: Path) -> list[Path]:
    """Return the files in the given folders that `find_images` leaves out because of their suffix."""
    return [
        path
        for folder in inputs
        if folder.is_dir()
        for path in _files_below(folder, out)
        if path.suffix.lower() not in SUFFIXES
    ]


def write_classes(variant: Variant, colours: np.ndarray, out: Path) -> None:
    """Write classes.csv to the folder `out`: ids, names and colours (K, 3) of the classes."""
    with atomic_file(out / _CLASSES_FILE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_CLASSES_HEAD)
        for number, (name, colour) in enumerate(zip(variant.data.classes, colours, strict=True)):
            writer.writerow((number, name, "#{:02x}{:02x}{:02x}".format(*colour)))


def save_picture(picture: Image.Image, path: Path, kind: str) -> None:
    """Write a picture as a file of Pillow's format `kind`, completely or not at all."""
    with atomic_file(path) as temporary:
        picture.save(temporary, format=kind)


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
