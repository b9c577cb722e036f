"""What a node keeps of a storage: verified copies, fetched once however many processes want them."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from regproxy.storage.remote import Storage, file_sha256


def cache_dir() -> Path:
    """Returns REGPROXY_CACHE, or ~/.cache/regproxy."""
    return Path(os.environ.get("REGPROXY_CACHE") or "~/.cache/regproxy").expanduser().absolute()


def fetch(source: Storage, name: str, target: Path, *, sha256: str, size: int | None = None) -> None:
    """Brings a file to `target` unless it is there; one process of the node fetches, the others wait.

    A file that is there was verified when it came; again, its size is looked at, or its content where the
    size is not known.
    """

    def there() -> bool:
        if not target.is_file():
            return False
        return target.stat().st_size == size if size is not None else file_sha256(target) == sha256

    if there():
        return
    with locked(target.with_name(f".{target.name}.lock")):
        if not there():
            source.get(name, target, sha256=sha256)


@contextlib.contextmanager
def locked(file: Path) -> Iterator[None]:
    """Holds a lock that one process of the node has at a time; it ends with the process that holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
