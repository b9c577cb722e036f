"""Trainings on a storage: the same bits as on a local folder, whatever is killed, broken or out of reach."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_comparison import assert_same_run, crash_at
from workers import train_together

from regproxy.errors import StorageError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.trial import Trial
from regproxy.storage.remote import Storage
from regproxy.train.context import Context
from regproxy.train.progress import Progress, run_to_end
from regproxy.train.remote import train_anywhere

MakeTrial = Callable[..., Trial]
CHANGES = {"log_every": 1, "checkpoint_every": 2}


def other_node(tmp_path: Path) -> None:
    """Remove the cache of this node."""
    shutil.rmtree(tmp_path / "node", ignore_errors=True)


def same_bits(shared: SharedStorage, make_trial: MakeTrial, trial: Trial) -> None:
    whole = make_trial(run="whole", **CHANGES)
    run_to_end(train_anywhere(whole, Context()))
    shared.download_finished([trial])
    assert trial.finished_record() is not None
    assert_same_run(whole, trial)


def test_a_run_on_the_storage_is_the_local_one(shared, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(**CHANGES)
    (remote,) = shared.upload_inputs([trial])
    assert remote.fingerprint == trial.fingerprint
    run_to_end(train_anywhere(remote, Context()))
    assert Storage(remote.workspace.run_dir).names() == [
        "files.json",
        "metrics.jsonl",
        "model.safetensors",
        "run.json",
    ]
    assert not list((tmp_path / "node/runs").rglob("*.safetensors"))
    same_bits(shared, make_trial, trial)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_another_node_resumes(shared, make_trial: MakeTrial, tmp_path: Path, step: int) -> None:
    trial = make_trial(**CHANGES)
    (remote,) = shared.upload_inputs([trial])
    crash_at(train_anywhere(remote, Context()), step)
    other_node(tmp_path)
    assert run_to_end(train_anywhere(remote, Context()))["resumed_at_step"] == step // 2 * 2
    same_bits(shared, make_trial, trial)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "unfinished"])
def test_a_broken_checkpoint_is_refused(shared, make_trial: MakeTrial, tmp_path: Path, damage: str) -> None:
    trial = make_trial(**CHANGES)
    (remote,) = shared.upload_inputs([trial])
    crash_at(train_anywhere(remote, Context()), 5)
    other_node(tmp_path)
    newest = Path(remote.workspace.run_dir.removeprefix("file://")) / "checkpoints/step-00000004"
    file = newest / "model.safetensors"
    content = file.read_bytes()
    if damage == "missing":
        (newest / "manifest.json").unlink()
    elif damage == "unfinished":
        (newest / "files.json").unlink()
    else:
        file.write_bytes(content[:-100] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    reports: list[Progress] = []
    assert run_to_end(train_anywhere(remote, Context()), reports.append)["resumed_at_step"] == 2
    assert reports[0].step == 2
    assert "step-00000004 cannot be used and was removed: " in reports[0].notes[0]
    same_bits(shared, make_trial, trial)


def test_a_failed_upload_leaves_the_earlier_checkpoint(
    shared, make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(**CHANGES)
    (remote,) = shared.upload_inputs([trial])
    put = Storage.put

    def failing(self: Storage, file: Path, name: str) -> None:
        if self.url.endswith("step-00000004") and name == "optimizer.pt":
            raise StorageError("cannot write it")
        put(self, file, name)

    notes: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put", failing)

        training = train_anywhere(remote, Context())
        while (progress := next(training)).step < 5:
            notes.extend(progress.notes)
        with pytest.raises(KeyboardInterrupt):
            training.throw(KeyboardInterrupt)
    assert notes == [
        "checkpoint step-00000004 was not uploaded, the previous one remains the newest: cannot write it"
    ]
    other_node(tmp_path)
    assert run_to_end(train_anywhere(remote, Context()))["resumed_at_step"] == 2
    same_bits(shared, make_trial, trial)


def test_a_storage_in_trouble_loses_no_checkpoint(
    shared, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    (remote,) = shared.upload_inputs([make_trial(**CHANGES)])
    crash_at(train_anywhere(remote, Context()), 5)

    def unreachable(*_: object, **__: object) -> None:
        raise StorageError("cannot fetch it")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "get", unreachable)
        with pytest.raises(StorageError, match="cannot fetch it"):
            run_to_end(train_anywhere(remote, Context()))
    assert (Storage(remote.workspace.run_dir) / "checkpoints").names() == ["step-00000002", "step-00000004"]


def test_a_finished_run_whose_upload_failed_is_not_trained_again(
    shared, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(**CHANGES)
    (remote,) = shared.upload_inputs([trial])
    put = Storage.put

    def failing(self: Storage, file: Path, name: str) -> None:
        if name == "run.json":
            raise StorageError("cannot write it")
        put(self, file, name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put", failing)
        with pytest.raises(StorageError, match="cannot write it"):
            run_to_end(train_anywhere(remote, Context()))
    shared.download_finished([trial])
    assert trial.finished_record() is None, "a run without its record counts as finished"
    reports: list[Progress] = []
    run_to_end(train_anywhere(remote, Context()), reports.append)
    assert reports == []
    same_bits(shared, make_trial, trial)


@pytest.mark.soak
def test_two_workers_resume_on_another_node(shared, make_trial: MakeTrial, tmp_path: Path) -> None:
    """Two stopped workers leave one checkpoint on the storage; on another node both resume from it."""
    whole, trial = make_trial(run="whole"), make_trial()
    train_together(whole, 2)
    (remote,) = shared.upload_inputs([trial])
    assert train_together(remote, 2, close_after=3) == [4, 4]
    other_node(tmp_path)
    assert train_together(remote, 2) == [None, None]
    shared.download_finished([trial])
    assert trial.finished_record()["resumed_at_step"] == 4
    assert trial.finished_record()["workers"] == 2
    assert_same_run(whole, trial)
