"""Shards: Arrow IPC files of encoded images and labels, written once and read by memory map.

A record is (id, image = the original encoded bytes, label = PNG of train ids, height, width). The manifest
lists rows, bytes and SHA-256 of each shard and is written last, so a folder without one is incomplete.
"""

import json
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.formats import SPLITS
from regproxy.config.parse import choose
from regproxy.errors import DataError
from regproxy.storage.hashing import file_sha256
from regproxy.storage.json_file import write_json

MANIFEST = "manifest.json"
FORMAT_VERSION = 1
_ROWS_PER_BATCH = 16  # rows of each Arrow record batch: row r is in batch r // 16
_KINDS = {
    "id": pa.string(),
    "image": pa.binary(),
    "label": pa.binary(),
    "height": pa.int32(),
    "width": pa.int32(),
}
_SCHEMA = pa.schema([pa.field(name, kind, nullable=False) for name, kind in _KINDS.items()])


@dataclass(frozen=True)
class Record:
    """One sample: encoded bytes of image and label (when read, views of the memory map), size in pixels."""

    id: str
    image: bytes | memoryview
    label: bytes | memoryview
    height: int
    width: int


class ShardWriter:
    """Write one split's records to the files `<split>-00000.arrow`, ... of a folder.

    A new shard starts when the next record would exceed `max_bytes` of encoded data or `max_rows`.
    """

    def __init__(
        self,
        directory: Path,
        *,
        split: str,
        classes: tuple[str, ...],
        max_bytes: int = 256 * 2**20,
        max_rows: int = 16_384,
    ) -> None:
        self.directory, self.split = directory, split
        self.max_bytes, self.max_rows = max_bytes, max_rows
        self.shards: list[dict[str, Any]] = []
        self._schema = _SCHEMA.with_metadata(
            {
                "split": split,
                "classes": json.dumps(classes),
                "ignore_label": str(IGNORE_LABEL),
                "format_version": str(FORMAT_VERSION),
            }
        )
        self._writer: pa.RecordBatchFileWriter | None = None
        self._pending: list[Record] = []
        self._rows = self._bytes = 0

    def write(self, record: Record) -> None:
        """Append a record, if necessary in a new shard."""
        size = len(record.image) + len(record.label)
        if self._rows == self.max_rows or (self._rows and self._bytes + size > self.max_bytes):
            self.finish()
        self._pending.append(record)
        self._rows += 1
        self._bytes += size
        if len(self._pending) == _ROWS_PER_BATCH:
            self._flush()

    def finish(self) -> list[dict[str, Any]]:
        """Complete the current shard, if any, and return the manifest's entries of all shards."""
        if self._pending:
            self._flush()
        self.close()
        if self._rows:
            file = self._file()
            size, sha256 = file.stat().st_size, file_sha256(file)
            self.shards.append({"file": file.name, "rows": self._rows, "bytes": size, "sha256": sha256})
            self._rows = self._bytes = 0
        return self.shards

    def close(self) -> None:
        """Close the open file, if any, without completing its shard."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _file(self) -> Path:
        return self.directory / f"{self.split}-{len(self.shards):05d}.arrow"

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pa.ipc.new_file(str(self._file()), self._schema)
        rows = [vars(record) for record in self._pending]
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=self._schema))
        self._pending.clear()


class Shards:
    """Random access to one split's records. Files are mapped on first use, so it can be pickled."""

    def __init__(self, directory: str | Path, split: str) -> None:
        """Read the manifest and check that every shard exists and has its size.

        Raises:
            ConfigError: `split` is not train, val or test.
            DataError: the manifest is missing or invalid or lacks the split, or a shard is missing or has
                another size.
        """
        self.directory = Path(directory)
        self.split = choose(split, SPLITS, f"{directory}: split")
        manifest = read_manifest(self.directory)
        self.classes: tuple[str, ...] = tuple(manifest["classes"])
        if split not in manifest["splits"]:
            raise DataError(
                f"{directory} has no split {split}: it has {', '.join(manifest['splits'])}. "
                f"Give the data set a {split} split and run prepare."
            )
        self._entries: list[dict[str, Any]] = manifest["splits"][split]["shards"]
        self._starts = list(accumulate((entry["rows"] for entry in self._entries), initial=0))
        self._readers: dict[int, pa.RecordBatchFileReader] = {}
        for entry in self._entries:
            file = self.directory / entry["file"]
            size = file.stat().st_size if file.exists() else None
            if size != entry["bytes"]:
                found = "is missing" if size is None else f"has {size:,} bytes"
                raise DataError(f"{file} {found}: expected {entry['bytes']:,} bytes. Run prepare again.")

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_readers": {}}

    def read(self, index: int) -> Record:
        """Return the record at `index`, in the order of ids, without a copy; raise IndexError if absent."""
        if not 0 <= index < len(self):
            raise IndexError(f"{self.directory}: {self.split} record {index} of {len(self)} does not exist")
        shard = bisect_right(self._starts, index) - 1
        row = index - self._starts[shard]
        if shard not in self._readers:
            source = pa.memory_map(str(self.directory / self._entries[shard]["file"]))
            self._readers[shard] = pa.ipc.open_file(source)
        batch = self._readers[shard].get_batch(row // _ROWS_PER_BATCH)
        name, image, label, height, width = (column[row % _ROWS_PER_BATCH] for column in batch.columns)
        views = (memoryview(scalar.as_buffer()) for scalar in (image, label))
        return Record(name.as_py(), *views, height.as_py(), width.as_py())

    def verify(self) -> None:
        """Read all shards; raise DataError for the first whose SHA-256 differs from the manifest's."""
        for entry in self._entries:
            file = self.directory / entry["file"]
            if file_sha256(file) != entry["sha256"]:
                raise DataError(f"{file} is damaged: its SHA-256 is not the manifest's. Run prepare again.")


def read_manifest(directory: Path) -> dict[str, Any]:
    """Return the manifest of a prepared data set; raise DataError if it is missing or invalid."""
    file = Path(directory) / MANIFEST
    if not file.is_file():
        raise DataError(f"{file} is missing: the data set is not prepared. Run prepare.")
    try:
        manifest = json.loads(file.read_text())
        version = manifest["format_version"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{file} is invalid: expected a manifest of shards. Run prepare again.") from None
    if version != FORMAT_VERSION:
        expected = f"expected format version {FORMAT_VERSION}; got {version!r}"
        raise DataError(f"{file} is invalid: {expected}. Run prepare again.")
    return manifest


def write_manifest(directory: Path, *, classes: tuple[str, ...], splits: dict[str, list]) -> dict[str, Any]:
    """Write the manifest of the shards of each split and return it."""
    manifest = {
        "format_version": FORMAT_VERSION,
        "classes": list(classes),
        "ignore_label": IGNORE_LABEL,
        "num_images": sum(entry["rows"] for shards in splits.values() for entry in shards),
        "splits": {
            split: {"num_images": sum(entry["rows"] for entry in shards), "shards": shards}
            for split, shards in splits.items()
        },
    }
    write_json(directory / MANIFEST, manifest, indent=2)
    return manifest
