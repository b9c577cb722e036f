"""What a node keeps of a storage: verified copies, fetched once however many processes want them."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from regproxy.data.datasets import SPLITS
from regproxy.data.shards import MANIFEST, read_manifest
from regproxy.data.storage import DamagedError, Storage, file_sha256, is_url


def cache_dir() -> Path:
    """Returns REGPROXY_CACHE, or ~/.cache/regproxy."""
    return Path(os.environ.get("REGPROXY_CACHE") or "~/.cache/regproxy").expanduser().absolute()


def local_data(place: str, splits: Sequence[str] = SPLITS) -> Path:
    """Returns a local folder with the manifest and the shards of `splits`; a local `place` is its own.

    Raises:
        DamagedError: what the storage holds is not what its manifest promises.
    """
    if not is_url(place):
        return Path(place)
    source = Storage(place)
    content = source.read(MANIFEST)
    if content is None:
        raise DamagedError(f"{place} holds no {MANIFEST}; run ablate to upload the data set")
    digest = hashlib.sha256(content).hexdigest()
    folder = cache_dir() / "data" / digest
    fetch(source, MANIFEST, folder / MANIFEST, sha256=digest)
    for split in splits:
        for entry in read_manifest(folder)["splits"][split]["shards"]:
            fetch(source, entry["file"], folder / entry["file"], sha256=entry["sha256"], size=entry["bytes"])
    return folder


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


def data_digest(place: str) -> str:
    """Returns the SHA-256 of the manifest of prepared data, wherever they lie."""
    if not is_url(place):
        read_manifest(Path(place))
        return file_sha256(Path(place) / MANIFEST)
    content = Storage(place).read(MANIFEST)
    if content is None:
        raise DamagedError(f"{place} holds no {MANIFEST}; run ablate to upload the data set")
    json.loads(content)
    return hashlib.sha256(content).hexdigest()
