"""Which images belong to which split: by a hash of their ids, or by a list in a text file."""

import hashlib
from collections.abc import Collection
from pathlib import Path

from regproxy.config.dataset import DataSettings
from regproxy.errors import DataError
from regproxy.raw.folders import text_of


def hashed_split(id: str, data: DataSettings) -> str:
    """Return the split that the hash of an id draws: it does not depend on the other images.

    The SHA-256 of the id is a number u in [0, 1). With shares, u < test_share is the test split and
    u < test_share + val_share the validation split. With folds, validation is the fold floor(u * folds).
    """
    digest = hashlib.sha256(id.encode()).digest()
    number = int.from_bytes(digest[:8], "big") / 2**64
    if data.folds is not None:
        return "val" if int(number * data.folds) == data.fold else "train"
    test, val = data.test_share or 0.0, data.val_share or 0.0
    return "test" if number < test else "val" if number < test + val else "train"


def read_list(file: Path) -> list[str]:
    """Return the lines of a list that are not empty, each once.

    Raises:
        DataError: the file is missing or is not UTF-8 text, or has no lines.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(f"{text_of(file)} cannot be read ({reason}). Correct splits or the file.") from None
    lines = list(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
    if not lines:
        raise DataError(f"{text_of(file)} names no images: write the id of one image in each line.")
    return lines


def listed_id(line: str, ids: Collection[str], *, folder: str, suffixes: tuple[str, ...]) -> str | None:
    """Return the id that a line of a list names, or None if there is no such image.

    A line is an id, a file name, or a path that begins with the folder of the images. More columns may
    follow, such as the path of the label.

    Args:
        line: a line without spaces at its ends.
        ids: of all images.
        folder: of the images, relative to the root.
        suffixes: of the images.
    """
    for text in dict.fromkeys((line, line.split()[0], line.split(",")[0])):
        name = text.removeprefix("./").lstrip("/")
        for candidate in (name, name.removeprefix(f"{folder}/")):
            ends = [end for end in suffixes if candidate.lower().endswith(end.lower())]
            for found in (candidate, *(candidate[: -len(end)] for end in ends)):
                if found in ids:
                    return found
    return None
