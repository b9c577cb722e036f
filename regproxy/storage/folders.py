"""A local folder and its copy on a storage; the copy has an index of its files' SHA-256, written last."""

import json
from pathlib import Path

from regproxy.storage.cache import fetch
from regproxy.storage.remote import Storage, file_sha256

INDEX = "files.json"


def push_folder(directory: Path, target: Storage) -> int:
    """Makes the storage's folder hold what the local one does; returns how many files had to be copied."""
    old = read_index(target)
    files = [
        path for path in sorted(directory.rglob("*")) if path.is_file() and not path.name.startswith(".")
    ]
    new = {path.relative_to(directory).as_posix(): file_sha256(path) for path in files}
    changed = [name for name, digest in new.items() if old.get(name) != digest]
    for name in changed:
        target.put(directory / name, name)
    if new != old:
        target.write(INDEX, json.dumps(new, indent=1).encode())
    for name in old.keys() - new.keys():
        target.remove(name)
    return len(changed)


def pull_folder(source: Storage, directory: Path) -> list[str]:
    """Brings all files of the storage's index; returns their names. Other local files stay.

    Raises:
        DamagedError: a file is not the one that the index promises.
    """
    index = read_index(source)
    for name, digest in index.items():
        if not (directory / name).resolve().is_relative_to(directory.resolve()):
            continue  # an index speaks of its own folder only
        fetch(source, name, directory / name, sha256=digest)
    return list(index)


def read_index(folder: Storage) -> dict[str, str]:
    """Returns SHA-256 by name of the files in a storage's folder, {} where it has no index."""
    try:
        index = json.loads(folder.read(INDEX) or b"{}")
    except ValueError:
        return {}
    return index if isinstance(index, dict) else {}
