"""Directories that appear complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from regproxy.errors import DataError


@contextlib.contextmanager
def replaced_directory(directory: Path, *, marker: str) -> Iterator[Path]:
    """Gives an empty directory that replaces `directory` if the block succeeds and vanishes if not.

    Args:
        directory: where the result is to stand; what an earlier run left there stays until the exchange.
        marker: a file that every result holds, by which an earlier one is recognised.

    Raises:
        DataError: `directory` holds something without a `marker`, so it may be a user's own files.
    """
    directory = Path(directory).absolute()
    temporary, old = (directory.with_name(f".{directory.name}.{end}") for end in ("tmp", "old"))
    if old.exists() and not directory.exists():  # a run was killed between the two renames below
        os.replace(old, directory)
    if directory.exists() and not (directory / marker).is_file() and any(directory.iterdir()):
        raise DataError(f"{directory} holds other files (no {marker}), empty it or choose another folder")
    for left_over in (temporary, old):
        shutil.rmtree(left_over, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        if directory.exists():
            os.replace(directory, old)
        os.replace(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if directory.exists():
            shutil.rmtree(old, ignore_errors=True)
