"""Prepared data sets: a local folder, or a URL whose shards are downloaded to the node's cache."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from regproxy.data.shards import MANIFEST, read_manifest
from regproxy.errors import DamagedError
from regproxy.storage.cache import cache_dir, fetch
from regproxy.storage.hashing import file_sha256
from regproxy.storage.remote import Storage, is_url


def local_data(location: str, splits: Sequence[str] | None = None) -> Path:
    """Return a local folder with the manifest and shards; download those of `splits`, or all, from a URL.

    Raises:
        DamagedError: the storage has no manifest, or a shard is missing or has another SHA-256.
    """
    if not is_url(location):
        return Path(location)
    source, content = Storage(location), _remote_manifest(location)
    sha256 = hashlib.sha256(content).hexdigest()
    folder = cache_dir() / "data" / sha256
    fetch(source, MANIFEST, folder / MANIFEST, sha256=sha256)
    prepared = read_manifest(folder)["splits"]
    for split in prepared if splits is None else splits:
        for entry in prepared[split]["shards"]:
            fetch(source, entry["file"], folder / entry["file"], sha256=entry["sha256"], size=entry["bytes"])
    return folder


def manifest_sha256(location: str | Path) -> str:
    """Return the SHA-256 of a prepared data set's manifest, which holds the SHA-256 of every shard.

    Raises:
        DataError: the folder has no manifest that this version reads, or the URL has none.
    """
    if is_url(location):
        return hashlib.sha256(_remote_manifest(str(location))).hexdigest()
    read_manifest(Path(location))
    return file_sha256(Path(location) / MANIFEST)


def data_sha256(location: str | Path) -> str:
    """Return a SHA-256 of what a training reads of a prepared data set: classes, train and val shards.

    The class statistics, the warnings and a test split are not in it.

    Raises:
        DataError: the folder has no manifest that this version reads, or the URL has none.
    """
    if is_url(location):
        manifest = json.loads(_remote_manifest(str(location)))
    else:
        manifest = read_manifest(Path(location))
    content = {key: manifest[key] for key in ("format_version", "classes", "ignore_label")}
    content["shards"] = {split: manifest["splits"][split]["shards"] for split in ("train", "val")}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _remote_manifest(url: str) -> bytes:
    content = Storage(url).read(MANIFEST)
    if content is None:
        raise DamagedError(f"{url}/{MANIFEST} is missing. Run ablate to upload the data set.")
    return content
