"""The images and labels below two folders, by id, and a message for each file without a partner."""

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from regproxy.raw.endings import ending_of, pairing_endings
from regproxy.raw.folders import Listing, list_files, text_of

_JPEG = (".jpg", ".jpeg", ".jfif", ".jpe")
_NOT_READ = frozenset(
    f".{kind}"
    for kind in (  # images that people have, but that are not read
        "avif",
        "cr2",
        "dng",
        "exr",
        "gif",
        "hdr",
        "heic",
        "heif",
        "j2k",
        "jfif",
        "jp2",
        "jpe",
        "jxl",
        "nef",
        "pgm",
        "pnm",
        "ppm",
        "psd",
        "tga",
    )
)


@dataclass
class Pool:
    """The files of two folders. An id is a path below its folder, with / and without the suffix."""

    image_folder: Path
    label_folder: Path
    image_suffixes: tuple[str, ...]
    label_suffixes: tuple[str, ...]
    images: dict[str, Path] = field(default_factory=dict)
    labels: dict[str, Path] = field(default_factory=dict)
    others: dict[str, Path] = field(
        default_factory=dict
    )  # files below these folders that have another suffix
    listings: list[Listing] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def check_pairs(self) -> list[str]:
        """Return the ids that have an image and a label, sorted; add a problem for every other file."""
        paired = sorted(self.images.keys() & self.labels)
        if self.problems:
            return paired
        if 2 * len(paired) < min(len(self.images), len(self.labels)):
            keys = pairing_endings(
                [text_of(path.relative_to(self.image_folder)) for path in self.images.values()],
                [text_of(path.relative_to(self.label_folder)) for path in self.labels.values()],
            )
            if keys:
                settings = " and ".join(f"{key}: {ending}" for key, ending in keys.items())
                self.problems.append(
                    f"{text_of(self.label_folder)} has no labels of the images' names, but the names differ "
                    f"only in their endings. Set {settings} in the profile."
                )
                return paired
        self.check_labels(self.images)
        for id in sorted(self.labels.keys() - self.images):
            folder = text_of(self.image_folder)
            hint = self._hint(self.image_folder, id) or " Add it, or remove the label."
            self.problems.append(
                f"{text_of(self.labels[id])} has no image of the same name in {folder}.{hint}"
            )
        return paired

    def check_labels(self, ids: Iterable[str]) -> list[str]:
        """Return those of the images' ids that have a label; add a problem for every other one."""
        for id in sorted(id for id in ids if id not in self.labels):
            expected = text_of(self.label_folder / id) + self.label_suffixes[0]
            hint = self._hint(self.label_folder, id) or " Add it, or remove the image."
            self.problems.append(f"{text_of(self.images[id])} has no label: expected {expected}.{hint}")
        return [id for id in ids if id in self.labels]

    def _hint(self, folder: Path, id: str) -> str:
        other = self.others.get(text_of(folder / id))
        if other is None:
            return ""
        if folder == self.label_folder and other.suffix.lower() in _JPEG:
            return f" {text_of(other)} is a JPEG, which changes label values near edges: save labels as PNG."
        return f" {text_of(other)} is there, but this kind of file is not read: convert it to PNG."


def read_pool(
    image_folder: Path,
    label_folder: Path,
    *,
    image_suffixes: tuple[str, ...],
    label_suffixes: tuple[str, ...],
    labels_first: bool = False,
) -> Pool:
    """Return the images and labels below two folders, which may be the same or one below the other.

    Args:
        image_suffixes, label_suffixes: endings of the file names, in any case; the rest is the id.
        labels_first: in a shared folder, a file that has an ending of both is a label, otherwise an image.
    """
    pool = Pool(image_folder, label_folder, image_suffixes, label_suffixes)
    roles = [(image_folder, image_suffixes, "images"), (label_folder, label_suffixes, "labels")]
    missing = [_missing(*role) for role in roles if not role[0].is_dir()]
    shared = not missing and image_folder.samefile(label_folder)
    listing = None
    for folder, suffixes, what in [role for role in roles if role[0].is_dir()]:
        if listing is None or not shared:
            other = label_folder if what == "images" else image_folder
            listing = list_files(folder, without=other)
            pool.listings.append(listing)
            pool.problems += listing.unreadable
        files = listing.files
        if shared and (what == "labels") != labels_first:
            taken = label_suffixes if labels_first else image_suffixes
            files = [file for file in files if ending_of(file.name, taken) is None]
        _sort_files(pool, files, folder, suffixes, what)
    pool.problems[:0] = missing
    return pool


def _sort_files(pool: Pool, files: list[Path], folder: Path, suffixes: tuple[str, ...], what: str) -> None:
    """Put the files with one of the suffixes into the pool by id, and say what is wrong with them."""
    found = pool.images if what == "images" else pool.labels
    not_read = []
    for path in files:
        ending = ending_of(path.name, suffixes)
        if ending is None:
            pool.others[text_of(path.with_suffix(""))] = path
            if what == "images" and path.suffix.lower() in _NOT_READ:
                not_read.append(path)
            continue
        id = unicodedata.normalize("NFC", text_of(path.relative_to(folder))[: -len(ending)])
        if id in found:
            pool.problems.append(
                f"{text_of(path)} and {text_of(found[id])} have the same id {id!r}. Keep one of them."
            )
        found.setdefault(id, path)
    if not_read:
        pool.problems.append(
            f"{text_of(folder)} has images of a kind that is not read: {len(not_read)}, such as "
            f"{text_of(not_read[0])}. Convert them to JPEG or PNG, or move them to another folder."
        )
    elif not found:
        hint = "" if not files else f" It has files of other names, such as {text_of(files[0].name)}."
        if what == "labels" and files and files[0].suffix.lower() in _JPEG:
            hint += " JPEG changes label values near edges: save labels as PNG."
        pool.problems.append(
            f"{text_of(folder)} has no {what}. Put the {what} ({_kinds(suffixes)}) there.{hint}"
        )


def _missing(folder: Path, suffixes: tuple[str, ...], what: str) -> str:
    """Return a message about a missing folder that names the folders beside it."""
    if folder.exists():
        return f"{text_of(folder)} is a file: expected the folder of the {what}. Give the folder."
    parent = next(place for place in folder.parents if place.is_dir())
    inside = _visible(parent)
    folders = [name for name in inside if (parent / name).is_dir()]
    remedy = f"Put the {what} ({_kinds(suffixes)}) there"
    if folders:
        names = ", ".join(text_of(name) for name in folders[:6])
        remedy += f", or name your folder under images, labels or splits: {text_of(parent)} has {names}"
    elif any(ending_of(name, suffixes) for name in inside):
        remedy += f", or set val_share: 0.2 to draw the splits: {text_of(parent)} has {what} but no folders"
    return f"{text_of(folder)} is missing. {remedy}."


def _visible(folder: Path) -> list[str]:
    """Return the names in a folder that are not hidden, sorted."""
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def _kinds(suffixes: tuple[str, ...]) -> str:
    return ", ".join(f"*{suffix}" for suffix in suffixes)
