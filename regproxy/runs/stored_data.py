"""Prepared data sets on a storage, found again by what their profile says about them.

<storage>/data/<profile>/<data set>/<digest>/           shards and manifest; the digest is the manifest's
<storage>/data/<profile>/<data set>/<settings>.json     which digest was uploaded last with these settings
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

from regproxy.config.dataset import DataConfig
from regproxy.data.prepared import manifest_sha256
from regproxy.data.shards import MANIFEST, read_manifest
from regproxy.runs.fingerprint import hash_json
from regproxy.storage.atomic import atomic_folder
from regproxy.storage.remote import Storage

_ELSEWHERE = ("root", "allow_partial")  # settings that may differ between two machines with equal data


def data_folder(storage: Storage, profile: str, dataset: str, sha256: str) -> Storage:
    """Return the folder of a prepared data set whose manifest has this SHA-256."""
    return storage / f"data/{profile}/{dataset}/{sha256[:16]}"


def upload_prepared(storage: Storage, profile: str, data: DataConfig, directory: Path) -> tuple[str, int]:
    """Upload a prepared data set unless it is there; return its URL and the number of uploaded files.

    Afterwards `download_prepared` finds it, until another one with the same settings is uploaded.
    """
    sha256 = manifest_sha256(directory)
    target, entry = data_folder(storage, profile, data.name, sha256), {"manifest_sha256": sha256}
    num_files = upload_data(directory, target)
    parent, name = storage / f"data/{profile}/{data.name}", _entry_name(data)
    if parent.read_json(name) != entry:
        parent.write(name, json.dumps(entry).encode())
    return target.url, num_files


def upload_data(directory: Path, target: Storage) -> int:
    """Upload a prepared data set, its manifest last; return the number of uploaded files.

    The target folder is named after the manifest's SHA-256 and files appear in it complete, so a file of the
    right size has the right content.
    """
    if target.read(MANIFEST) == (directory / MANIFEST).read_bytes():
        return 0
    shards = _shards(directory)
    changed = [shard["file"] for shard in shards if target.size(shard["file"]) != shard["bytes"]]
    for name in [*changed, MANIFEST]:
        target.put(directory / name, name)
    return len(changed) + 1


def download_prepared(
    storage: Storage,
    profile: str,
    data: DataConfig,
    directory: Path,
    progress: Callable[[int, int], None] | None = None,
) -> str | None:
    """Download the prepared data set that was uploaded last with the same settings; return its URL.

    Every file is verified by its SHA-256. The new data set replaces `directory` when it is complete.

    Args:
        storage: the shared storage.
        profile: name of the profile.
        data: the data set; its root and `allow_partial` may differ from those of the uploaded one.
        directory: local folder to create or replace.
        progress: called after every shard with (downloaded shards, all shards).

    Returns:
        The URL of the data set, None if none was uploaded with these settings.

    Raises:
        DamagedError: a file is missing or has another SHA-256.
        StorageError: the storage cannot be reached.
    """
    entry = (storage / f"data/{profile}/{data.name}").read_json(_entry_name(data))
    if entry is None:
        return None
    source = data_folder(storage, profile, data.name, entry["manifest_sha256"])
    with atomic_folder(directory, marker=MANIFEST) as temporary:
        source.get(MANIFEST, temporary / MANIFEST, sha256=entry["manifest_sha256"])
        shards = _shards(temporary)
        for done, shard in enumerate(shards, start=1):
            source.get(shard["file"], temporary / shard["file"], sha256=shard["sha256"])
            if progress is not None:
                progress(done, len(shards))
    return source.url


def _shards(directory: Path) -> list[dict]:
    return [shard for split in read_manifest(directory)["splits"].values() for shard in split["shards"]]


def _entry_name(data: DataConfig) -> str:
    """Return the file name that stands for a data set's settings: format, classes, void labels, splits."""
    settings = {key: value for key, value in dataclasses.asdict(data).items() if key not in _ELSEWHERE}
    return f"{hash_json(settings)[:16]}.json"
