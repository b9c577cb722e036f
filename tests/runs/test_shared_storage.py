"""The storage that nodes share: runs, weights and scores that are uploaded and downloaded."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from regproxy.errors import DamagedError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.stored_run import download_run
from regproxy.runs.trial import Trial
from regproxy.storage.remote import Storage
from regproxy.train.context import Context
from regproxy.train.progress import run_to_end
from regproxy.train.remote import local_weights, train_anywhere

MakeTrial = Callable[..., Trial]
CHANGES = {"log_every": 1, "checkpoint_every": 2}


def test_a_run_of_another_recipe_is_not_downloaded(shared, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial, other = make_trial(**CHANGES), make_trial(run="other", weight_decay=0.0, **CHANGES)
    (remote,) = shared.upload_inputs([trial])
    run_to_end(train_anywhere(remote, Context()))
    shared.download_finished([other])
    assert other.finished_record() is None
    record = json.loads(Storage(remote.workspace.run_dir).read("run.json"))
    assert record["fingerprint"] == trial.fingerprint
    assert not download_run(Storage(remote.workspace.run_dir), tmp_path / "elsewhere", other.fingerprint)
    assert trial.moved(run_dir=str(tmp_path / "elsewhere")).finished_record() is None


def test_weights_are_uploaded_once_and_verified(
    shared: SharedStorage, make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial()
    model = dataclasses.replace(trial.variant.model, pretrain="augreg", weights="vit.tag")
    variant = dataclasses.replace(trial.variant, model=model)
    trial = dataclasses.replace(trial, variant=variant).moved(pretrained_dir=str(tmp_path / "weights"))
    file = tmp_path / "weights/vit.tag.safetensors"
    file.parent.mkdir()
    for content in ("first", "second"):
        file.write_text(content)
        (remote,) = shared.upload_inputs([trial])
        assert (local_weights(remote) / file.name).read_text() == content
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put", lambda *arguments: pytest.fail("uploaded again"))
        shared.upload_inputs([trial])
    (Storage(remote.workspace.pretrained_dir) / "vit.tag").remove("files.json")
    with pytest.raises(DamagedError, match=r"holds no vit\.tag\.safetensors; run ablate"):
        local_weights(remote)


def test_scores_so_far_are_kept_and_a_storage_in_trouble_stops_nothing(
    shared: SharedStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    score = Path("results/smoke/ade20k/linear/0.json")
    score.parent.mkdir(parents=True)
    score.write_text("a score")
    shared.try_upload_results("smoke")
    shutil.rmtree("results")
    shared.download_results("smoke")
    assert score.read_text() == "a score"

    score.write_text("another")
    (tmp_path / "file").write_text("")
    SharedStorage(Storage(f"file://{tmp_path}/file")).try_upload_results("smoke")  # not a folder
    assert score.read_text() == "another"
