"""List the files below a folder of a data set: hidden and temporary ones are left out, links are followed."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

_DROPPINGS = re.compile(r"\..*|__MACOSX|Thumbs\.db|desktop\.ini|.*~|~\$.*|#.*#|.*\.(bak|orig|swp|tmp)", re.I)


@dataclass
class Listing:
    """What is below a folder. Paths are sorted."""

    files: list[Path] = field(default_factory=list)
    left_out: list[Path] = field(default_factory=list)  # hidden and temporary files and folders
    repeated: list[Path] = field(default_factory=list)  # links to folders that are listed already
    unreadable: list[str] = field(default_factory=list)  # a message for each folder that cannot be listed


def list_files(folder: Path, *, without: Path | None = None) -> Listing:
    """Return the files below a folder, also below links to folders. A folder with two names is listed once.

    Args:
        without: a folder that is not listed, even if it is below `folder`.
    """
    listing, seen = Listing(), set()
    if without is not None and without.is_dir() and not without.samefile(folder):
        seen.add(_identity(without))
    ignored = set(seen)
    pending = [folder]
    while pending:
        parent = pending.pop()
        identity = _identity(parent)
        if identity in seen:
            if identity not in ignored:
                listing.repeated.append(parent)
            continue
        seen.add(identity)
        try:
            with os.scandir(parent) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            listing.unreadable.append(f"{text_of(parent)} cannot be listed ({error.strerror}).")
            continue
        links, folders = [], []
        for entry in entries:
            path = parent / entry.name
            if _DROPPINGS.fullmatch(entry.name):
                listing.left_out.append(path)
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(path)
            elif entry.is_file() or entry.is_symlink():  # a broken link is named when it is read
                listing.files.append(path)
        # The stack takes links last, so that a folder keeps its own name rather than that of a link to it.
        pending = [*reversed(links), *pending, *reversed(folders)]
    for paths in (listing.files, listing.left_out, listing.repeated):
        paths.sort()
    return listing


def text_of(path: Path | str) -> str:
    r"""Return a path with / as text that can be printed: bytes that are not UTF-8 become \xdf."""
    return os.fsencode(path).decode("utf-8", "backslashreplace").replace(os.sep, "/")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
