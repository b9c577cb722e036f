"""Storage on a real S3 server: 503s, truncated downloads, kill -9 during an upload."""

import dataclasses
import hashlib
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("s3fs")
import s3fs
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from run_comparison import assert_same_run
from werkzeug.serving import make_server

from regproxy.data.prepared import local_data
from regproxy.data.shards import Shards
from regproxy.errors import DamagedError, StorageError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.stored_data import upload_data
from regproxy.runs.trial import Trial
from regproxy.storage import remote as storage
from regproxy.storage.remote import Storage
from regproxy.train.context import Context
from regproxy.train.progress import run_to_end
from regproxy.train.remote import train_anywhere

pytestmark = pytest.mark.integration


class Faulty:
    """A WSGI application in front of moto's that answers some requests with errors, or not at all."""

    def __init__(self) -> None:
        self.inner = DomainDispatcherApplication(create_backend_app)
        self.heal()

    def heal(self) -> None:
        self.unavailable = 0  # number of coming requests to answer with 503
        self.cut = 0  # number of coming downloads to truncate to half
        self.hold = "\0"  # uploads to a path with this ending block
        self.held, self.released = threading.Event(), threading.Event()
        self.refused: list[str] = []

    def __call__(self, environ: dict, start: Callable) -> object:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        if self.unavailable > 0:
            self.unavailable -= 1
            self.refused.append(f"{method} {path}")
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start("503 Slow Down", [("Content-Type", "application/xml")])
            return [
                b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
            ]
        if method == "PUT" and path.endswith(self.hold):
            self.held.set()
            self.released.wait(120)
            start("400 Bad Request", [])  # the client was killed, its upload must not complete
            return []
        if method != "GET" or self.cut <= 0 or not path.endswith(".arrow"):
            return self.inner(environ, start)
        self.cut -= 1
        answer: list = []
        body = b"".join(
            self.inner(environ, lambda status, headers, info=None: answer.extend((status, headers)))
        )
        body = body[: len(body) // 2]
        # Length and checksum must not reveal the truncation to the client.
        headers = [
            (k, v) for k, v in answer[1] if not k.lower().startswith(("content-length", "x-amz-checksum"))
        ]
        start(answer[0], [*headers, ("Content-Length", str(len(body)))])
        return [body]


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Faulty, str]]:
    faulty = Faulty()
    http = make_server("127.0.0.1", 0, faulty, threaded=True)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    yield faulty, f"http://127.0.0.1:{http.server_port}"
    http.shutdown()


@pytest.fixture
def faulty(server: tuple[Faulty, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Faulty]:
    faulty, endpoint = server
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
        "REGPROXY_CACHE": str(tmp_path / "node"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(storage, "WAITS_S", (0.05, 0.1, 0.2))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)  # only the retries of regproxy count
    s3fs.S3FileSystem.clear_instance_cache()
    faulty.heal()
    fs = s3fs.S3FileSystem()
    if not fs.exists("bucket"):
        fs.mkdir("bucket")
    yield faulty
    faulty.released.set()
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def store(faulty: Faulty, tmp_path: Path) -> Storage:
    return Storage(f"s3://bucket/{tmp_path.name}")


def test_files_come_and_go(store: Storage, tmp_path: Path) -> None:
    assert (store.names(), store.read("a/b"), store.size("a/b")) == ([], None, None)
    store.write("a/b", b"content")
    assert ((store / "a").names(), store.read("a/b"), store.size("a/b")) == (["b"], b"content", 7)
    store.get("a/b", tmp_path / "copy", sha256=hashlib.sha256(b"content").hexdigest())
    assert (tmp_path / "copy").read_bytes() == b"content"
    store.remove("a")
    store.remove("a")
    assert store.names() == []


@pytest.mark.parametrize("verb", ["write", "read", "names", "size"])
def test_503s_are_retried(store: Storage, faulty: Faulty, verb: str) -> None:
    store.write("file", b"content")
    faulty.unavailable = 3
    calls = {
        "write": lambda: store.write("file", b"content"),
        "read": lambda: store.read("file"),
        "names": store.names,
        "size": lambda: store.size("file"),
    }
    expected = {"write": None, "read": b"content", "names": ["file"], "size": 7}
    assert calls[verb]() == expected[verb]
    assert len(faulty.refused) == 3


def test_a_server_that_stays_down_is_an_error(store: Storage, faulty: Faulty) -> None:
    faulty.unavailable = 1000
    with pytest.raises(
        StorageError, match=r"Cannot write s3://\S+/file \(tried 4 times\): .*run the command again"
    ):
        store.write("file", b"content")


def test_a_missing_bucket_is_an_error_at_once(faulty: Faulty) -> None:
    with pytest.raises(StorageError, match="Cannot write s3://nowhere/file: FileNotFoundError"):
        Storage("s3://nowhere").write("file", b"content")


def test_a_truncated_download_is_repeated(
    store: Storage, faulty: Faulty, smoke_data: dict[str, Path]
) -> None:
    upload_data(smoke_data["ade20k"], store)
    faulty.cut = 1
    Shards(local_data(store.url), "train").verify()
    assert faulty.cut == 0
    shutil.rmtree(os.environ["REGPROXY_CACHE"])
    faulty.cut = 1000
    with pytest.raises(DamagedError, match="is damaged: expected SHA-256"):
        local_data(store.url)
    assert not [path for path in Path(os.environ["REGPROXY_CACHE"]).rglob("*.arrow") if path.is_file()]


TRAIN = """
import pickle, sys, torch
from regproxy.train.context import Context
from regproxy.train.progress import run_to_end
from regproxy.train.remote import train_anywhere
torch.set_num_threads(1)
run_to_end(train_anywhere(pickle.load(open(sys.argv[1], "rb")), Context()))
"""


@pytest.mark.parametrize("file", ["model.safetensors", "manifest.json", "files.json"])
def test_after_a_kill_during_an_upload_another_node_trains_to_the_same_bits(
    store: Storage, faulty: Faulty, make_trial: Callable[..., Trial], tmp_path: Path, file: str
) -> None:
    changes = {"log_every": 1, "checkpoint_every": 2}
    whole, trial = make_trial(run="whole", **changes), make_trial(**changes)
    run_to_end(train_anywhere(whole, Context()))
    shared = SharedStorage(store)
    (stored,) = shared.upload_inputs([trial])
    pickled = tmp_path / "trial.pickle"
    pickled.write_bytes(pickle.dumps(dataclasses.replace(stored)))
    faulty.hold = f"step-00000004/{file}"
    process = subprocess.Popen([sys.executable, "-c", TRAIN, str(pickled)])
    try:
        assert faulty.held.wait(90), "the upload did not start"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    faulty.released.set()
    shutil.rmtree(os.environ["REGPROXY_CACHE"])
    faulty.hold, faulty.unavailable = "\0", 2
    assert run_to_end(train_anywhere(stored, Context()))["resumed_at_step"] == 2
    shared.download_finished([trial])
    assert trial.finished_record() is not None
    assert_same_run(whole, trial)
