"""Copies of local folders on a storage: runs, checkpoints, weights, results and reports.

`files.json`, a folder's index, holds the SHA-256 of each file and is written last. A folder without an index
is incomplete.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from regproxy.storage.cache import fetch
from regproxy.storage.hashing import file_sha256
from regproxy.storage.remote import Storage

INDEX = "files.json"


def upload_folder(directory: Path, target: Storage, names: Sequence[str] | None = None) -> int:
    """Upload new and changed files, remove remote files that are not local; return the number of uploads.

    Before a file that the index names is replaced, the index is removed. So nobody sees a mixture of an old
    and a new folder as complete.

    Args:
        names: files to upload, in this order; None for all that are not hidden.
    """
    if names is None:
        files = (path for path in directory.rglob("[!.]*") if path.is_file())
        names = sorted(path.relative_to(directory).as_posix() for path in files)
    old = target.read_json(INDEX) or {}
    new = {name: file_sha256(directory / name) for name in names}
    changed = [name for name in names if old.get(name) != new[name]]
    if not old.keys().isdisjoint(changed):
        target.remove(INDEX)
    for name in changed:
        target.put(directory / name, name)
    if new != old:
        target.write(INDEX, _encode(new))
    for name in old.keys() - new.keys():
        target.remove(name)
    return len(changed)


def download_folder(source: Storage, directory: Path) -> list[str]:
    """Download all files of the index in its order and return their names, [] if there is no index.

    Other local files are kept.

    Raises:
        DamagedError: a file is missing or its SHA-256 is not the one in the index.
    """
    index = source.read_json(INDEX) or {}
    for name, sha256 in index.items():
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            continue  # a name such as ../x must not write outside the folder
        fetch(source, name, directory / name, sha256=sha256)
    return list(index)


def replace_json(target: Storage, name: str, content: Mapping[str, Any]) -> None:
    """Replace a JSON file, and its SHA-256 in the index if there is one.

    The two differ after an interruption in between; replacing the file again repairs this.
    """
    encoded, index = _encode(content), target.read_json(INDEX)
    if index is not None:
        target.write(INDEX, _encode({**index, name: hashlib.sha256(encoded).hexdigest()}))
    target.write(name, encoded)


def _encode(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()
