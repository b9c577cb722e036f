"""Files and folders that are complete or absent: written under a temporary name, then renamed."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

from regproxy.errors import DataError


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path in the same folder. Rename it to `path` on success, remove it on an error.

    Missing parent folders are created. The temporary name starts with a dot, ends in `.tmp` and is unique, so
    several processes may write the same file at once: the last rename wins.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: Path, *, marker: str) -> Iterator[Path]:
    """Yield an empty temporary folder. Let it replace `folder` on success, remove it on an error.

    Args:
        folder: the final path. Its previous content remains until the replacement.
        marker: name of a file that every result contains. A folder without it is never replaced.

    Raises:
        DataError: `folder` holds files but no `marker`, so they may be the user's own.
    """
    folder = Path(folder).absolute()
    temporary, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("tmp", "old"))
    if old.exists() and not folder.exists():  # an earlier process was killed between the two renames below
        os.replace(old, folder)
    if folder.exists() and not (folder / marker).is_file() and any(folder.iterdir()):
        raise DataError(
            f"folder {folder} cannot be replaced: it holds other files (no {marker}). "
            f"Empty it or choose another folder."
        )
    for left_over in (temporary, old):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if folder.exists():
            os.replace(folder, old)
        os.replace(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def atomic_files(path: Path) -> Iterator[Path]:
    """Yield a path of the same name in a temporary folder beside it, for a file that needs other files.

    On success all files of that folder move beside `path`. `path` itself moves last, so it never appears
    without the others. On an error the folder is removed. Missing parent folders are created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    folder.mkdir()
    try:
        yield folder / path.name
        for file in sorted(folder.iterdir(), key=lambda file: file.name == path.name):
            os.replace(file, path.with_name(file.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
