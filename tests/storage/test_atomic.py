"""Files and folders that are complete or absent."""

from pathlib import Path

import pytest

from regproxy.errors import DataError
from regproxy.storage.atomic import atomic_file, atomic_files, atomic_folder

MARKER = "marker.json"


def test_file_is_replaced_on_success_only(tmp_path: Path) -> None:
    file = tmp_path / "deep/file"
    with atomic_file(file) as temporary:
        temporary.write_text("first")
        assert not file.exists()
    with pytest.raises(RuntimeError), atomic_file(file) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert file.read_text() == "first"
    assert list(file.parent.iterdir()) == [file]


def test_folder_is_replaced_at_once(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("first", "second"):
        with atomic_folder(out, marker=MARKER) as temporary:
            (temporary / MARKER).write_text(text)
            (temporary / text).touch()
    assert sorted(file.name for file in out.iterdir()) == [MARKER, "second"]
    with pytest.raises(RuntimeError), atomic_folder(out, marker=MARKER) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert (out / "second").exists()
    assert list(tmp_path.iterdir()) == [out]


def test_replacing_survives_a_kill_between_its_renames(tmp_path: Path) -> None:
    old = tmp_path / ".out.old"
    old.mkdir()
    (old / MARKER).write_text("1")
    with pytest.raises(RuntimeError), atomic_folder(tmp_path / "out", marker=MARKER):
        raise RuntimeError
    assert (tmp_path / "out" / MARKER).read_text() == "1"


def test_foreign_files_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(DataError, match="holds other files"), atomic_folder(tmp_path, marker=MARKER):
        pass
    assert (tmp_path / "photo.jpg").exists()


def test_a_file_and_those_it_needs_appear_together(tmp_path: Path) -> None:
    out = tmp_path / "new" / "net.onnx"
    with pytest.raises(RuntimeError), atomic_files(out) as temporary:
        temporary.with_name("net.onnx.data").touch()
        raise RuntimeError
    assert not list(out.parent.iterdir())
    with atomic_files(out) as temporary:
        assert temporary.name == out.name
        for name in ("net.onnx", "net.onnx.data"):
            temporary.with_name(name).write_text(name)
        assert not out.exists()
    assert sorted(path.name for path in out.parent.iterdir()) == ["net.onnx", "net.onnx.data"]
    assert out.read_text() == "net.onnx"
