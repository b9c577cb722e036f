"""Shards: records read back equal, and an error names a damaged file."""

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from regproxy.data.prepared import data_sha256, manifest_sha256
from regproxy.data.shards import MANIFEST, Record, Shards, ShardWriter, write_manifest
from regproxy.errors import ConfigError, DataError


def records(count: int) -> list[Record]:
    return [Record(f"id{i:03d}", bytes([i]) * (10 + i), bytes([i, 1]), 4 + i, 7) for i in range(count)]


def write(directory: Path, count: int = 40, **limits: int) -> dict:
    directory.mkdir(exist_ok=True)
    splits = {}
    for split, number in (("train", count), ("val", 3)):
        writer = ShardWriter(directory, split=split, classes=("a", "b"), **limits)
        for record in records(number):
            writer.write(record)
        splits[split] = writer.finish()
    return write_manifest(directory, classes=("a", "b"), splits=splits)


def plain(record: Record) -> Record:
    return Record(record.id, bytes(record.image), bytes(record.label), record.height, record.width)


@pytest.mark.parametrize("limits", [{}, {"max_rows": 17}, {"max_rows": 16}, {"max_bytes": 100}])
def test_reading_back_equals(tmp_path: Path, limits: dict[str, int]) -> None:
    manifest = write(tmp_path, **limits)
    shards = Shards(tmp_path, "train")
    assert [plain(shards.read(index)) for index in range(len(shards))] == records(40)
    assert manifest["splits"]["train"]["num_images"] == len(shards) == 40
    assert manifest["num_images"] == 43
    assert (len(manifest["splits"]["train"]["shards"]) > 1) == bool(limits)
    assert shards.classes == ("a", "b")
    assert not list(tmp_path.glob("*.tmp"))
    for index in (-1, 40):
        with pytest.raises(IndexError):
            shards.read(index)


def test_schema_says_what_it_holds(tmp_path: Path) -> None:
    write(tmp_path)
    schema = pa.ipc.open_file(pa.memory_map(str(tmp_path / "val-00000.arrow"))).schema
    assert schema.names == ["id", "image", "label", "height", "width"]
    expected = {b"split": b"val", b"classes": b'["a", "b"]', b"ignore_label": b"255", b"format_version": b"1"}
    assert schema.metadata == expected


def test_same_records_give_same_bytes(tmp_path: Path) -> None:
    assert write(tmp_path / "one", max_rows=9) == write(tmp_path / "two", max_rows=9)
    assert manifest_sha256(tmp_path / "one") == manifest_sha256(tmp_path / "two")


def test_statistics_warnings_and_a_test_split_change_no_training(tmp_path: Path) -> None:
    write(tmp_path)
    before, file = data_sha256(tmp_path), tmp_path / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest |= {"warnings": ["a sentence"], "statistics": {}}
    manifest["splits"]["test"] = manifest["splits"]["val"]
    file.write_text(json.dumps(manifest))
    assert data_sha256(tmp_path) == before
    manifest["splits"]["val"]["shards"][0]["sha256"] = "0" * 64
    file.write_text(json.dumps(manifest))
    assert data_sha256(tmp_path) != before


def test_pickled_reader_reads(tmp_path: Path) -> None:
    write(tmp_path)
    shards = Shards(tmp_path, "train")
    shards.read(0)
    assert plain(pickle.loads(pickle.dumps(shards)).read(39)) == records(40)[39]


def test_damage_is_named(tmp_path: Path) -> None:
    write(tmp_path, max_rows=16)
    Shards(tmp_path, "train").verify()
    file = tmp_path / "train-00001.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"train-00001\.arrow is damaged"):
        Shards(tmp_path, "train").verify()
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"train-00001\.arrow has .* bytes: expected .*Run prepare"):
        Shards(tmp_path, "train")
    file.unlink()
    with pytest.raises(DataError, match=r"train-00001\.arrow is missing"):
        Shards(tmp_path, "train")
    assert len(Shards(tmp_path, "val")) == 3


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"format_version": 99}'])
def test_manifest_is_checked(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(DataError, match="Run prepare"):
        Shards(tmp_path, "train")
    with pytest.raises(DataError, match="Run prepare"):
        manifest_sha256(tmp_path)


def test_unknown_split(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        Shards(tmp_path, "training")
