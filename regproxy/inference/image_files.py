"""What commands with a user's own images share: which files they read, and which they may write."""

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from regproxy.config.formats import FORMATS
from regproxy.errors import DataError
from regproxy.raw.folders import list_files, text_of
from regproxy.storage.atomic import atomic_file

SUFFIXES = FORMATS["folder"].image_suffixes
_CLASSES_FILE, _CLASSES_HEAD = "classes.csv", ("id", "class", "colour")
_NAMED = 5  # skipped files that a line names


@dataclass
class ImageFiles:
    """The images of a command, and what was skipped in their folders.

    Attributes:
        sources: each image by what the paths of its outputs have in common (see `output_path`), in natural
            order: frame2 is before frame10.
        skipped: the skipped files and folders by reason, such as "hidden or temporary".
    """

    sources: dict[Path, Path] = field(default_factory=dict)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    def skipped_lines(self) -> list[str]:
        """Return a line for each reason: how many files were skipped, and the names of the first ones."""
        lines = []
        for reason, names in self.skipped.items():
            shown = ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
            lines.append(f"skipped {len(names)} {'file' if len(names) == 1 else 'files'} ({reason}): {shown}")
        return lines


def find_images(inputs: Sequence[Path], out: Path, endings: Sequence[str]) -> ImageFiles:
    """Return the images to read and the files that are skipped.

    Hidden and temporary files and everything below `out` are skipped. Linked folders are read, each once.

    Args:
        inputs: images and folders. Images below a folder keep their relative paths below `out`.
        out: the output folder.
        endings: the endings of all files that may be written for an image.

    Raises:
        DataError: an input is missing, a folder has no images, two images have the same output path, or an
            output would overwrite an image.
    """
    found = ImageFiles()
    for given in dict.fromkeys(inputs):
        if given.is_dir():
            names = _images_below(given, out, found)
        elif given.is_file():
            names = {given: Path(given.name)}
        else:
            fault = "is neither a file nor a folder" if given.exists() else "is missing"
            raise DataError(f"{text_of(given)} {fault}. Give images or folders of images.")
        for source, name in names.items():
            base = out / name.with_suffix("")
            other = found.sources.setdefault(base, source)
            if other.resolve() != source.resolve():
                path = text_of(output_path(base, endings[0]))
                raise DataError(
                    f"{text_of(other)} and {text_of(source)} would both be {path}. Process them separately."
                )
    outputs = {output_path(base, ending).resolve() for base in found.sources for ending in endings}
    for source in found.sources.values():
        if source.resolve() in outputs:
            raise DataError(
                f"{text_of(source)} would be overwritten by an output. "
                f"Choose a folder other than {text_of(out)}."
            )
    return found


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
        raise DataError(f"{text_of(existing)} is a file. Choose a folder for the {product}.")
    try:
        has_predictions = (out / _CLASSES_FILE).read_text().startswith(",".join(_CLASSES_HEAD))
    except (FileNotFoundError, UnicodeDecodeError):
        has_predictions = False
    taken = [] if has_predictions else [path for path in (*outputs, out / _CLASSES_FILE) if path.exists()]
    if taken:
        raise DataError(
            f"{text_of(taken[0])} exists and is no output of regproxy. "
            f"Choose a folder other than {text_of(out)}."
        )


def write_classes(classes: Sequence[str], ids: Sequence[int], colours: np.ndarray, out: Path) -> None:
    """Write classes.csv to the folder `out`: the id, name and colour (K, 3) of each class."""
    with atomic_file(out / _CLASSES_FILE) as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_CLASSES_HEAD)
        for number, name, colour in zip(ids, classes, colours, strict=True):
            writer.writerow((number, name, "#{:02x}{:02x}{:02x}".format(*colour)))


def save_picture(picture: Image.Image, path: Path, kind: str, **options: object) -> None:
    """Write a picture as a file of Pillow's format `kind`, with its options, completely or not at all."""
    with atomic_file(path) as temporary:
        picture.save(temporary, format=kind, **options)


def _images_below(folder: Path, out: Path, found: ImageFiles) -> dict[Path, Path]:
    """Return the images below a folder and their relative paths; add what is skipped to `found`."""
    listing = list_files(folder, without=out)
    named = [path for path in listing.files if path.suffix.lower() in SUFFIXES]
    images = [path for path in named if path.is_file()]
    reasons = {
        f"not {', '.join(SUFFIXES)}": [path for path in listing.files if path.suffix.lower() not in SUFFIXES],
        "hidden or temporary": listing.left_out,
        "a link to nothing, or not a regular file": [path for path in named if not path.is_file()],
        "a folder that is read under another name": listing.repeated,
    }
    skipped = {reason: [text_of(path) for path in paths] for reason, paths in reasons.items()}
    for reason, names in (skipped | {"a folder that cannot be listed": listing.unreadable}).items():
        if names:
            known = found.skipped.setdefault(reason, [])
            known += [name for name in names if name not in known]
    if not images:
        had = "".join(f" It has {line.removeprefix('skipped ')}." for line in found.skipped_lines())
        raise DataError(f"{text_of(folder)} has no images ({', '.join(SUFFIXES)}).{had} Give another folder.")
    return {path: path.relative_to(folder) for path in sorted(images, key=_natural)}


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Return a key that sorts numbers in names by their value."""
    pieces = re.split(r"(\d+)", str(path), flags=re.ASCII)
    return [
        (1, int(piece), "") if piece.isdecimal() and piece.isascii() else (0, 0, piece) for piece in pieces
    ]
