"""Find prepared data: a local folder, or a URL whose shards are downloaded into the cache."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from regproxy.config.formats import SPLITS
from regproxy.data.shards import MANIFEST, read_manifest
from regproxy.errors import DamagedError
from regproxy.storage.cache import cache_dir, fetch
from regproxy.storage.remote import Storage, file_sha256, is_url


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
