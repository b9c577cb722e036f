"""Finished runs of a storage: found, downloaded, verified."""

import json
from pathlib import Path

import pytest

from regproxy.cli.main import main
from regproxy.errors import DamagedError, StorageError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.stored_run import fetch_run, finished_runs, upload_run
from regproxy.storage.cache import cache_dir
from regproxy.storage.remote import Storage

RUNS = ("runs/demo/ade20k/4x4/0", "runs/demo/ade20k/linear/0", "runs/other/ade20k/4x4/0")


def write_run(folder: Path, fingerprint: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"fingerprint": fingerprint}))
    (folder / "model.safetensors").write_text(f"weights of {fingerprint}")
    (folder / "metrics.jsonl").write_text("{}\n")


@pytest.fixture
def stored(shared: SharedStorage, tmp_path: Path) -> SharedStorage:
    """The shared storage with three finished runs and an unfinished one."""
    for number, name in enumerate(RUNS):
        write_run(tmp_path / "trained", f"{number}" * 64)
        upload_run(tmp_path / "trained", shared.storage / name)
    unfinished = shared.storage / "runs/demo/ade20k/4x4/1"
    unfinished.write("checkpoints/step-00000002/files.json", b"{}")
    unfinished.write("error.log", b"RuntimeError")
    return shared


def test_finished_runs_are_found(stored: SharedStorage) -> None:
    storage = stored.storage
    assert finished_runs(storage / "runs/demo") == [storage / RUNS[0], storage / RUNS[1]]
    assert finished_runs(storage / RUNS[0]) == [storage / RUNS[0]]
    assert finished_runs(storage / "runs/none") == []


def test_a_run_is_verified_and_only_downloaded_once(
    stored: SharedStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{stored.storage.url}/{RUNS[0]}"
    cached = fetch_run(url)
    assert cached == cache_dir() / "finished" / ("0" * 64)
    assert (cached / "model.safetensors").read_text() == f"weights of {'0' * 64}"
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "get", lambda *arguments, **_: pytest.fail("downloaded again"))
        assert fetch_run(f"{url}/") == cached
    (stored.storage / RUNS[0]).write("model.safetensors", b"other weights")
    with pytest.raises(DamagedError, match=r"model\.safetensors is damaged"):
        fetch_run(url, tmp_path / "here")
    assert not (tmp_path / "here/run.json").exists()


@pytest.mark.parametrize("name", ["runs/demo/ade20k/4x4/1", "runs/demo", "runs/none"])
def test_a_folder_without_a_finished_run_is_named(stored: SharedStorage, name: str) -> None:
    with pytest.raises(StorageError, match=rf"{name} holds no finished run .* Give a finished run's folder"):
        fetch_run(f"{stored.storage.url}/{name}")


def test_the_command_downloads_a_profile_and_keeps_other_trainings(
    stored: SharedStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGPROXY_STORAGE", raising=False)
    assert main(["fetch", "demo"]) == 1
    assert "no storage is given: add --storage" in capsys.readouterr().err
    assert main(["fetch", "demo", "--storage", stored.storage.url]) == 0
    assert "2 finished runs are in runs/" in capsys.readouterr().out
    assert sorted(map(str, Path("runs").glob("*/*/*/*"))) == [*RUNS[:2]]

    monkeypatch.setenv("REGPROXY_STORAGE", stored.storage.url)
    write_run(Path(RUNS[2]), "f" * 64)
    assert main(["fetch", "runs/other"]) == 1
    assert "runs/other/ade20k/4x4/0 holds another training and was kept" in capsys.readouterr().err
    assert json.loads(Path(RUNS[2], "run.json").read_text())["fingerprint"] == "f" * 64
    assert main(["fetch", f"{stored.storage.url}/{RUNS[2]}", "--out", "copies"]) == 0
    assert Path("copies/other/ade20k/4x4/0/model.safetensors").exists()
    assert main(["fetch", "none"]) == 1
    assert "runs/none holds no finished run" in capsys.readouterr().err
