"""Shards: what is written reads back, and what is damaged is refused by name."""

import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from regproxy.data.shards import MANIFEST, Record, Shards, ShardWriter, manifest_digest, write_manifest
from regproxy.errors import ConfigError, DataError
from regproxy.storage.atomic import replaced_directory


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
    assert manifest_digest(tmp_path / "one") == manifest_digest(tmp_path / "two")


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
    with pytest.raises(ValueError, match=r"train-00001\.arrow is damaged"):
        Shards(tmp_path, "train").verify()
    file.write_bytes(content[:-1])
    with pytest.raises(DataError, match=r"train-00001\.arrow has .* bytes, expected .*run prepare"):
        Shards(tmp_path, "train")
    file.unlink()
    with pytest.raises(DataError, match=r"train-00001\.arrow is missing"):
        Shards(tmp_path, "train")
    assert len(Shards(tmp_path, "val")) == 3


@pytest.mark.parametrize("content", [None, "{", "[]", "{}", '{"format_version": 99}'])
def test_manifest_is_checked(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(DataError, match="run prepare"):
        Shards(tmp_path, "train")
    with pytest.raises(DataError, match="run prepare"):
        manifest_digest(tmp_path)


def test_unknown_split(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        Shards(tmp_path, "training")


def test_directory_is_replaced_whole(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("first", "second"):
        with replaced_directory(out, marker=MANIFEST) as temporary:
            (temporary / MANIFEST).write_text(json.dumps(text))
            (temporary / text).touch()
    assert sorted(file.name for file in out.iterdir()) == [MANIFEST, "second"]
    with pytest.raises(RuntimeError), replaced_directory(out, marker=MANIFEST) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert (out / "second").exists()
    assert list(tmp_path.iterdir()) == [out]


def test_replacing_survives_a_kill_between_its_renames(tmp_path: Path) -> None:
    old = tmp_path / ".out.old"
    old.mkdir()
    (old / MANIFEST).write_text("1")
    with pytest.raises(RuntimeError), replaced_directory(tmp_path / "out", marker=MANIFEST):
        raise RuntimeError
    assert (tmp_path / "out" / MANIFEST).read_text() == "1"


def test_foreign_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(DataError, match="holds other files"), replaced_directory(tmp_path, marker=MANIFEST):
        pass
    assert (tmp_path / "photo.jpg").exists()
