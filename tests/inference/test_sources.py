"""Where `regproxy.load` finds a model: each source gives the same network, and others get one sentence."""

import json
import shutil
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
from stub_hub import serve

import regproxy
from regproxy.errors import DamagedError, DataError, StorageError
from regproxy.runs.stored_run import upload_run
from regproxy.storage import remote
from regproxy.storage.remote import Storage

IMAGE = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@pytest.fixture
def stored(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a run on a storage, with its index; nothing is in the cache."""
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01))
    monkeypatch.setenv("REGPROXY_CACHE", str(tmp_path / "cache"))
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"fingerprint": "f1" * 32, "seed": 3}))
    (run / "metrics.jsonl").write_text("")
    upload_run(run, Storage(f"file://{tmp_path}/store/0"))
    return tmp_path / "store/0"


def confidence(source: str | Path) -> np.ndarray:
    return regproxy.load(source, "cpu").predict(IMAGE).confidence


def test_all_sources_give_the_same_network(run: Path, stored: Path, tmp_path: Path) -> None:
    expected = confidence(run)
    other = shutil.copytree(run, tmp_path / "other")
    (other / "model.safetensors").rename(other / "step-100.safetensors")
    regproxy.load(run, "cpu").save_pretrained(tmp_path / "saved")
    sources = (str(run), other / "step-100.safetensors", tmp_path / "saved", f"file://{stored}")
    for source in sources:
        assert np.array_equal(confidence(source), expected), source
    assert regproxy.load(f"file://{stored}", "cpu").record["seed"] == 3


def test_a_run_on_a_web_server_is_the_same_network(run: Path, stored: Path) -> None:
    pytest.importorskip("aiohttp")  # fsspec needs it for http
    with serve(partial(Quiet, directory=stored.parent)) as url:
        assert np.array_equal(confidence(f"{url}/0/"), confidence(run))


def test_a_stored_run_is_downloaded_once(stored: Path, tmp_path: Path) -> None:
    regproxy.load(f"file://{stored}", "cpu")
    (stored / "model.safetensors").unlink()
    regproxy.load(f"file://{stored}", "cpu")


def test_a_damaged_download_is_refused(stored: Path) -> None:
    with (stored / "model.safetensors").open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(DamagedError, match=r"model.safetensors is damaged: expected SHA-256"):
        regproxy.load(f"file://{stored}", "cpu")


def test_a_missing_stored_run_is_one_sentence(stored: Path) -> None:
    with pytest.raises(StorageError, match="holds no finished run"):
        regproxy.load(f"file://{stored}/none", "cpu")
    with pytest.raises(StorageError, match="Protocol not known: foo"):
        regproxy.load("foo://bucket/0", "cpu")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", r"none is missing. Give a run folder, a .safetensors file .* or hf://owner/name"),
        ("photo.png", r"photo.png is no model: expected a run folder, .* or hf://owner/name"),
        ("none.pth", "none.pth is missing. Give the path of a released checkpoint"),
        ("none.safetensors", "none.safetensors is missing. Give a run folder"),
        ("alone.safetensors", "run.json is missing. Give the folder of a finished run"),
        (".", "run.json is missing. Give the folder of a finished run"),
    ],
)
def test_what_is_no_model_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(b"")
    (tmp_path / "alone.safetensors").write_bytes(b"")
    with pytest.raises(DataError, match=message):
        regproxy.load(tmp_path / name, "cpu")
