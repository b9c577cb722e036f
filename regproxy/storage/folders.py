"""Copies of local folders on a storage, with an index of each file's SHA-256 that is written last."""

import json
from pathlib import Path

from regproxy.storage.cache import fetch
from regproxy.storage.hashing import file_sha256
from regproxy.storage.remote import Storage

INDEX = "files.json"


def upload_folder(directory: Path, target: Storage) -> int:
    """Upload new and changed files, remove remote files that are not local; return the number of uploads."""
    old = read_index(target)
    files = [
        path for path in sorted(directory.rglob("*")) if path.is_file() and not path.name.startswith(".")
    ]
    new = {path.relative_to(directory).as_posix(): file_sha256(path) for path in files}
    changed = [name for name, sha256 in new.items() if old.get(name) != sha256]
    for name in changed:
        target.put(directory / name, name)
    if new != old:
        target.write(INDEX, json.dumps(new, indent=1).encode())
    for name in old.keys() - new.keys():
        target.remove(name)
    return len(changed)


def download_folder(source: Storage, directory: Path) -> list[str]:
    """Download all files of the storage's index and return their names. Keep other local files.

    Raises:
        DamagedError: a file is missing or its SHA-256 is not the one in the index.
    """
    index = read_index(source)
    for name, sha256 in index.items():
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            continue  # a name such as ../x must not write outside the folder
        fetch(source, name, directory / name, sha256=sha256)
    return list(index)


def read_index(folder: Storage) -> dict[str, str]:
    """Return the SHA-256 of each file in a folder of a storage by its name, {} if there is no valid index."""
    try:
        index = json.loads(folder.read(INDEX) or b"{}")
    except ValueError:
        return {}
    return index if isinstance(index, dict) else {}
