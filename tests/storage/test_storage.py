"""Remote folders: upload and download, retries, damaged files, a cache that many processes share."""

import hashlib
import multiprocessing
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from regproxy.data.prepared import local_data
from regproxy.data.shards import MANIFEST, Shards
from regproxy.errors import ConfigError, DamagedError, StorageError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.stored_data import upload_data
from regproxy.storage import remote as storage
from regproxy.storage.folders import download_folder, upload_folder
from regproxy.storage.remote import Storage


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(storage, "WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setenv("REGPROXY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path}/store" if request.param == "file" else f"memory://{uuid.uuid4().hex}")


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_back(store: Storage, tmp_path: Path) -> None:
    assert (store.names(), store.read("a/b"), store.size("a/b")) == ([], None, None)
    file = tmp_path / "file"
    file.write_bytes(b"content")
    store.put(file, "a/b")
    store.write("a/c", b"more")
    assert (store / "a").names() == ["b", "c"]
    assert (store.read("a/b"), store.size("a/c")) == (b"content", 4)
    store.get("a/b", tmp_path / "deep/copy", sha256=sha256(b"content"))
    assert (tmp_path / "deep/copy").read_bytes() == b"content"
    store.remove("a")
    store.remove("a")
    assert store.names() == []


def test_a_damaged_or_missing_file_is_never_at_the_target(store: Storage, tmp_path: Path) -> None:
    store.write("file", b"cont")
    with pytest.raises(DamagedError, match=r"file is damaged: expected SHA-256 .*; got"):
        store.get("file", tmp_path / "out/copy", sha256=sha256(b"content"))
    with pytest.raises(DamagedError, match="other is missing"):
        store.get("other", tmp_path / "out/copy", sha256=sha256(b"content"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Return a function that makes the next calls of the memory file system raise and lists them."""

    def arm(times: int) -> list[str]:
        calls: list[str] = []
        kind = type(fsspec.filesystem("memory"))
        for name in ("pipe_file", "cat_file", "get_file", "put_file"):
            real = getattr(kind, name)

            def flaky(self: object, *args: object, real=real, name=name, **more: object) -> object:
                if len(calls) < times:
                    calls.append(name)
                    raise OSError("503 Slow Down")
                return real(self, *args, **more)

            monkeypatch.setattr(kind, name, flaky)
        return calls

    return arm


def test_temporary_errors_are_retried(failing: Callable, tmp_path: Path) -> None:
    store, calls = Storage(f"memory://{uuid.uuid4().hex}"), failing(3)
    store.write("file", b"content")
    assert (len(calls), store.read("file")) == (3, b"content")


def test_permanent_errors_name_location_cause_and_remedy(failing: Callable) -> None:
    store = Storage("memory://lasting")
    failing(1000)
    with pytest.raises(StorageError) as caught:
        store.write("file", b"content")
    assert str(caught.value) == (
        "Cannot write memory://lasting/file (tried 4 times): OSError: 503 Slow Down. "
        "Check the storage, then run the command again to resume."
    )


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(StorageError, match="Cannot open nonsense://x: ValueError: Protocol not known"):
        Storage("nonsense://x").names()


def test_a_server_without_an_answer_is_named() -> None:
    with pytest.raises(StorageError, match=r"Cannot open ftp://127.0.0.1:9/x: Connection.*Check the URL"):
        Storage("ftp://127.0.0.1:9/x").names()  # fsspec connects before the first operation


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(StorageError, match=r"s3://x: a package is not installed .*s3fs.* with pip"):
        Storage("s3://x").names()


def test_the_setting_must_be_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGPROXY_STORAGE", raising=False)
    assert SharedStorage.from_environment() is None
    monkeypatch.setenv("REGPROXY_STORAGE", "/some/folder")
    with pytest.raises(ConfigError, match=r"REGPROXY_STORAGE is invalid: .* got '/some/folder'"):
        SharedStorage.from_environment()


def test_data_are_uploaded_once_and_read_through_the_cache(
    store: Storage, smoke_data: dict[str, Path], tmp_path: Path
) -> None:
    data = smoke_data["ade20k"]
    assert upload_data(data, store) == len(list(data.iterdir()))
    assert upload_data(data, store) == 0
    store.remove(MANIFEST)
    assert upload_data(data, store) == 1, "shards that the storage already had were uploaded again"
    local = local_data(store.url)
    for split in ("train", "val"):
        shards = Shards(local, split)
        shards.verify()
        assert len(shards) == len(Shards(data, split))
    store.remove("train-00000.arrow")
    assert local_data(store.url) == local, "a cached shard was downloaded again"
    (local / "train-00000.arrow").write_bytes(b"short")
    with pytest.raises(DamagedError, match=r"train-00000\.arrow is missing"):
        local_data(store.url)


def _fetch_all(url: str, start: object) -> None:
    start.wait()
    Shards(local_data(url), "train").verify()


def test_processes_of_a_node_share_a_cache(smoke_data: dict[str, Path], tmp_path: Path) -> None:
    store = Storage(f"file://{tmp_path}/store")
    upload_data(smoke_data["ade20k"], store)
    context = multiprocessing.get_context("fork")
    start = context.Barrier(4)
    processes = [context.Process(target=_fetch_all, args=(store.url, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_folder_is_pushed_and_pulled(store: Storage, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (here / name).write_text(name)
    assert upload_folder(here, store) == 2
    (here / "a").unlink()
    (here / "deep/b").write_text("new")
    assert upload_folder(here, store) == 1
    assert download_folder(store, there) == ["deep/b"]
    assert (there / "deep/b").read_text() == "new"
    assert store.names() == ["deep", "files.json"]


def test_a_folder_that_is_being_replaced_is_incomplete(
    store: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for name in ("a", "b"):
        (here / name).write_text("old")
    upload_folder(here, store)
    (here / "c").write_text("added")

    def failing(self: Storage, file: Path, name: str) -> None:
        raise StorageError("cannot write it")

    monkeypatch.setattr(Storage, "put", failing)
    with pytest.raises(StorageError, match="cannot write it"):
        upload_folder(here, store)
    assert download_folder(store, there) == ["a", "b"], "an added file must not hide the complete folder"
    (here / "b").write_text("new")
    with pytest.raises(StorageError, match="cannot write it"):
        upload_folder(here, store)
    assert download_folder(store, tmp_path / "other") == []
    assert not (tmp_path / "other").exists()
