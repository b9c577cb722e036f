"""Storage of whole files: put and get, retries, damage, a cache that many processes share."""

import hashlib
import multiprocessing
import uuid
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from regproxy.data.prepared import local_data
from regproxy.data.shards import MANIFEST, Shards
from regproxy.errors import ConfigError, DamagedError, StorageError
from regproxy.runs.shared_storage import Exchange, upload_data
from regproxy.storage import remote as storage
from regproxy.storage.folders import pull_folder, push_folder
from regproxy.storage.remote import Storage


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(storage, "WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setenv("REGPROXY_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return Storage(f"file://{tmp_path}/store" if request.param == "file" else f"memory://{uuid.uuid4().hex}")


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_a_file_comes_back(store: Storage, tmp_path: Path) -> None:
    assert (store.names(), store.read("a/b"), store.size("a/b")) == ([], None, None)
    file = tmp_path / "file"
    file.write_bytes(b"content")
    store.put(file, "a/b")
    store.write("a/c", b"more")
    assert (store / "a").names() == ["b", "c"]
    assert (store.read("a/b"), store.size("a/c")) == (b"content", 4)
    store.get("a/b", tmp_path / "deep/copy", sha256=digest(b"content"))
    assert (tmp_path / "deep/copy").read_bytes() == b"content"
    store.remove("a")
    store.remove("a")
    assert store.names() == []


def test_a_wrong_or_missing_file_never_stands_at_the_target(store: Storage, tmp_path: Path) -> None:
    store.write("file", b"cont")
    with pytest.raises(DamagedError, match="file is damaged: its sha256 is not the manifest's"):
        store.get("file", tmp_path / "out/copy", sha256=digest(b"content"))
    with pytest.raises(DamagedError, match="other is missing"):
        store.get("other", tmp_path / "out/copy", sha256=digest(b"content"))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[str]]:
    """Makes the next calls of the memory file system raise; returns the list of calls that did."""

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


def test_passing_trouble_is_sat_out(failing: Callable, tmp_path: Path) -> None:
    store, calls = Storage(f"memory://{uuid.uuid4().hex}"), failing(3)
    store.write("file", b"content")
    assert (len(calls), store.read("file")) == (3, b"content")


def test_lasting_trouble_is_one_clear_sentence(failing: Callable) -> None:
    store = Storage("memory://lasting")
    failing(1000)
    with pytest.raises(StorageError) as caught:
        store.write("file", b"content")
    wanted = "cannot write memory://lasting/file, tried 4 times: OSError: 503 Slow Down; run again to go on"
    assert str(caught.value) == wanted


def test_an_unknown_protocol_is_named() -> None:
    with pytest.raises(StorageError, match="nonsense://x cannot be opened: ValueError: Protocol not known"):
        Storage("nonsense://x").names()


def test_the_setting_must_be_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REGPROXY_STORAGE", raising=False)
    assert Exchange.from_environment() is None
    monkeypatch.setenv("REGPROXY_STORAGE", "/some/folder")
    with pytest.raises(ConfigError, match="REGPROXY_STORAGE is '/some/folder', give a URL"):
        Exchange.from_environment()


def test_data_are_uploaded_once_and_read_through_the_cache(
    store: Storage, smoke_data: dict[str, Path], tmp_path: Path
) -> None:
    data = smoke_data["ade20k"]
    assert upload_data(data, store) == len(list(data.iterdir()))
    assert upload_data(data, store) == 0
    store.remove(MANIFEST)
    assert upload_data(data, store) == 1, "shards that are there were uploaded again"
    local = local_data(store.url)
    for split in ("train", "val"):
        shards = Shards(local, split)
        shards.verify()
        assert len(shards) == len(Shards(data, split))
    store.remove("train-00000.arrow")
    assert local_data(store.url) == local, "what is in the cache was fetched again"
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
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_folder_is_mirrored(store: Storage, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "deep").mkdir(parents=True)
    for name in ("a", "deep/b"):
        (here / name).write_text(name)
    assert push_folder(here, store) == 2
    (here / "a").unlink()
    (here / "deep/b").write_text("new")
    assert push_folder(here, store) == 1
    assert pull_folder(store, there) == ["deep/b"]
    assert (there / "deep/b").read_text() == "new"
    assert store.names() == ["deep", "files.json"]
