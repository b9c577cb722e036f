"""The node's cache of remote files: each file is downloaded and verified once for all its processes."""

import os
from pathlib import Path

from regproxy.storage.hashing import file_sha256
from regproxy.storage.lock import hold_lock
from regproxy.storage.remote import Storage


def cache_dir() -> Path:
    """Return the cache folder: $REGPROXY_CACHE, or ~/.cache/regproxy."""
    return Path(os.environ.get("REGPROXY_CACHE") or "~/.cache/regproxy").expanduser().absolute()


def fetch(source: Storage, name: str, target: Path, *, sha256: str, size: int | None = None) -> None:
    """Download a file to `target` unless it is there. One process downloads it while the others wait.

    A file at `target` was verified when it was downloaded, so only its `size` in bytes is compared; if `size`
    is None, its SHA-256.

    Raises:
        DamagedError: the remote file is missing, or its SHA-256 is not `sha256`.
        StorageError: the storage cannot be reached.
    """

    def is_cached() -> bool:
        if size is None:
            return target.is_file() and file_sha256(target) == sha256
        return target.is_file() and target.stat().st_size == size

    if not is_cached():
        with hold_lock(target.with_name(f".{target.name}.lock")):
            if not is_cached():
                source.get(name, target, sha256=sha256)
