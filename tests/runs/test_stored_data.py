"""Prepared data that one machine uploads and another one downloads in stage `prepare`."""

import dataclasses
import json
from pathlib import Path

import pytest
from smoke_profile import SMOKE_VARIANTS

from pipelines import prepare
from regproxy.config.profile_file import load_profile
from regproxy.data.shards import MANIFEST, Shards
from regproxy.errors import DamagedError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.stored_data import download_prepared, upload_prepared

DATA = SMOKE_VARIANTS["ade20k", "linear"].data


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_data_are_found_by_their_settings(
    shared: SharedStorage, smoke_data: dict[str, Path], tmp_path: Path
) -> None:
    here, there = smoke_data["ade20k"], tmp_path / "there"
    url, num_files = upload_prepared(shared.storage, "smoke", DATA, here)
    assert num_files == len(files(here)) and upload_prepared(shared.storage, "smoke", DATA, here) == (url, 0)
    elsewhere = dataclasses.replace(DATA, root="/elsewhere", allow_partial=not DATA.allow_partial)
    shown: list[tuple[int, int]] = []
    done = download_prepared(
        shared.storage, "smoke", elsewhere, there, progress=lambda *counts: shown.append(counts)
    )
    assert done == url and files(there) == files(here)
    assert shown == [(1, 2), (2, 2)]  # a shard of each split
    void = dataclasses.replace(DATA, void_labels=(3,))
    assert download_prepared(shared.storage, "smoke", void, tmp_path / "void") is None
    assert download_prepared(shared.storage, "paper", DATA, tmp_path / "paper") is None


def test_the_last_upload_counts(shared: SharedStorage, smoke_data: dict[str, Path], tmp_path: Path) -> None:
    first, _ = upload_prepared(shared.storage, "smoke", DATA, smoke_data["ade20k"])
    second, _ = upload_prepared(shared.storage, "smoke", DATA, smoke_data["cityscapes"])
    assert download_prepared(shared.storage, "smoke", DATA, tmp_path / "there") == second != first
    assert upload_prepared(shared.storage, "smoke", DATA, smoke_data["ade20k"]) == (first, 0)
    assert download_prepared(shared.storage, "smoke", DATA, tmp_path / "there") == first


def test_a_damaged_shard_leaves_the_earlier_data(
    shared: SharedStorage, smoke_data: dict[str, Path], tmp_path: Path
) -> None:
    url, _ = upload_prepared(shared.storage, "smoke", DATA, smoke_data["ade20k"])
    assert download_prepared(shared.storage, "smoke", DATA, tmp_path / "there") == url
    before = files(tmp_path / "there")
    shard = next(Path(url.removeprefix("file://")).glob("val-*.arrow"))
    shard.write_bytes(b"\0" + shard.read_bytes()[1:])
    with pytest.raises(DamagedError, match="expected SHA-256"):
        download_prepared(shared.storage, "smoke", DATA, tmp_path / "there")
    assert files(tmp_path / "there") == before


PROFILE = """
seeds: [0]
architectures: {{A: {{backbone: {{timm_name: vit_tiny_patch16_384}}}}}}
datasets: {{city: {{format: ade20k, root: {root}, allow_partial: true}}}}
recipe: {{steps: 1, crop: [32, 32], scale: [64, 32]}}
evaluation: {{scale: [64, 32], window: [32, 32], stride: [32, 32]}}
variants: {{linear: {{arch: A, head: linear}}}}
"""


def test_a_cluster_without_raw_data_downloads_what_was_prepared_elsewhere(
    shared: SharedStorage,
    smoke_data: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGPROXY_STORAGE", shared.storage.url)
    profiles = tmp_path / "pipelines/profiles"
    profiles.mkdir(parents=True)
    (profiles / "own.yaml").write_text(PROFILE.format(root="/no/raw/data"))
    assert prepare.main(["own"]) == 1
    error = capsys.readouterr().err
    assert "root /no/raw/data is missing, and file://" in error and "Run `make upload-data`" in error
    assert not Path("data/prepared/own/city").exists()
    (data,) = load_profile("own").datasets
    url, _ = upload_prepared(shared.storage, "own", data, smoke_data["ade20k"])
    assert prepare.main(["own"]) == 0
    assert f"prepared data downloaded from {url} -> data/prepared/own/city" in capsys.readouterr().out
    Shards("data/prepared/own/city", "train").verify()
    manifest = json.loads(Path("data/prepared/own/city", MANIFEST).read_text())
    assert manifest == json.loads((smoke_data["ade20k"] / MANIFEST).read_text())


def test_a_root_that_is_a_url_is_refused_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("REGPROXY_STORAGE", raising=False)
    profiles = tmp_path / "pipelines/profiles"
    profiles.mkdir(parents=True)
    (profiles / "own.yaml").write_text(PROFILE.format(root="s3://bucket/raw"))
    assert prepare.main(["own"]) == 1
    error = capsys.readouterr().err
    assert "root s3://bucket/raw is a URL" in error and "make upload-data" in error
