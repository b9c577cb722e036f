"""Trainings on a storage: the same bits as on a local folder, whatever is killed, broken or out of reach."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from run_comparison import assert_same_run
from workers import train_together

from regproxy.errors import StorageError
from regproxy.runs.shared_storage import Exchange
from regproxy.runs.stored_run import download_run
from regproxy.runs.trial import Trial
from regproxy.storage import remote as storage
from regproxy.storage.remote import Storage
from regproxy.train.context import Context, Progress
from regproxy.train.remote import train_anywhere

MakeTrial = Callable[..., Trial]
CHANGES = {"log_every": 1, "checkpoint_every": 2}


@pytest.fixture(autouse=True)
def exchange(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Exchange:
    monkeypatch.setattr(storage, "WAITS_S", (0.01, 0.01))
    monkeypatch.setenv("REGPROXY_CACHE", str(tmp_path / "node"))
    return Exchange(Storage(f"file://{tmp_path}/store"))


def other_node(tmp_path: Path) -> None:
    """Forgets all that the node had."""
    shutil.rmtree(tmp_path / "node", ignore_errors=True)


def interrupt(place: Trial, step: int) -> None:
    def report(progress: Progress) -> None:
        if progress.step == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_anywhere(place, Context(report=report))


def same_bits(exchange: Exchange, make_trial: MakeTrial, trial: Trial) -> None:
    whole = make_trial(run="whole", **CHANGES)
    train_anywhere(whole, Context())
    exchange.bring_finished([trial])
    assert trial.finished_record() is not None
    assert_same_run(whole, trial)


def test_a_run_on_the_storage_is_the_local_one(exchange, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial = make_trial(**CHANGES)
    (place,) = exchange.offer([trial])
    assert place.fingerprint == trial.fingerprint
    train_anywhere(place, Context())
    assert Storage(place.run_dir).names() == ["files.json", "metrics.jsonl", "model.safetensors", "run.json"]
    assert not list((tmp_path / "node/runs").rglob("*.safetensors"))
    same_bits(exchange, make_trial, trial)


@pytest.mark.parametrize("step", [1, 3, 5])
def test_another_node_goes_on(exchange, make_trial: MakeTrial, tmp_path: Path, step: int) -> None:
    trial = make_trial(**CHANGES)
    (place,) = exchange.offer([trial])
    interrupt(place, step)
    other_node(tmp_path)
    assert train_anywhere(place, Context())["resumed_at_step"] == step // 2 * 2
    same_bits(exchange, make_trial, trial)


@pytest.mark.parametrize("damage", ["cut", "changed", "missing"])
def test_a_broken_checkpoint_is_refused(exchange, make_trial: MakeTrial, tmp_path: Path, damage: str) -> None:
    trial = make_trial(**CHANGES)
    (place,) = exchange.offer([trial])
    interrupt(place, 5)
    other_node(tmp_path)
    newest = Path(place.run_dir.removeprefix("file://")) / "checkpoints/step-00000004"
    file = newest / "model.safetensors"
    content = file.read_bytes()
    if damage == "missing":
        (newest / "manifest.json").unlink()
    else:
        file.write_bytes(content[:-100] if damage == "cut" else content[:-1] + bytes([content[-1] ^ 1]))
    notes: list[str] = []
    assert train_anywhere(place, Context(note=notes.append))["resumed_at_step"] == 2
    assert "step-00000004 is dropped: " in notes[0]
    assert notes[1] == "goes on from step 2"
    same_bits(exchange, make_trial, trial)


def test_a_failed_upload_leaves_the_earlier_checkpoint(
    exchange, make_trial: MakeTrial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(**CHANGES)
    (place,) = exchange.offer([trial])
    put = Storage.put

    def failing(self: Storage, file: Path, name: str) -> None:
        if self.url.endswith("step-00000004") and name == "optimizer.pt":
            raise StorageError("cannot write it")
        put(self, file, name)

    notes: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put", failing)

        def report(progress: Progress) -> None:
            if progress.step == 5:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train_anywhere(place, Context(report=report, note=notes.append))
    assert notes == ["checkpoint step-00000004 is not on the storage, the one before counts: cannot write it"]
    other_node(tmp_path)
    assert train_anywhere(place, Context())["resumed_at_step"] == 2
    same_bits(exchange, make_trial, trial)


def test_a_storage_in_trouble_loses_no_checkpoint(
    exchange, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = exchange.offer([make_trial(**CHANGES)])
    interrupt(place, 5)

    def unreachable(*_: object, **__: object) -> None:
        raise StorageError("cannot fetch it")

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "get", unreachable)
        with pytest.raises(StorageError, match="cannot fetch it"):
            train_anywhere(place, Context())
    assert (Storage(place.run_dir) / "checkpoints").names() == ["step-00000002", "step-00000004"]


def test_a_finished_run_whose_upload_failed_is_not_trained_again(
    exchange, make_trial: MakeTrial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = make_trial(**CHANGES)
    (place,) = exchange.offer([trial])
    put = Storage.put

    def failing(self: Storage, file: Path, name: str) -> None:
        if name == "run.json":
            raise StorageError("cannot write it")
        put(self, file, name)

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "put", failing)
        with pytest.raises(StorageError, match="cannot write it"):
            train_anywhere(place, Context())
    exchange.bring_finished([trial])
    assert trial.finished_record() is None, "a run without its record counts as finished"
    reports: list[Progress] = []
    train_anywhere(place, Context(report=reports.append))
    assert reports == []
    same_bits(exchange, make_trial, trial)


def test_a_run_of_another_recipe_is_not_brought(exchange, make_trial: MakeTrial, tmp_path: Path) -> None:
    trial, other = make_trial(**CHANGES), make_trial(run="other", weight_decay=0.0, **CHANGES)
    (place,) = exchange.offer([trial])
    train_anywhere(place, Context())
    exchange.bring_finished([other])
    assert other.finished_record() is None
    record = json.loads(Storage(place.run_dir).read("run.json"))
    assert record["fingerprint"] == trial.fingerprint
    assert not download_run(Storage(place.run_dir), tmp_path / "elsewhere", other.fingerprint)
    assert dataclasses.replace(trial, run_dir=str(tmp_path / "elsewhere")).finished_record() is None


@pytest.mark.soak
def test_two_workers_go_on_elsewhere(exchange, make_trial: MakeTrial, tmp_path: Path) -> None:
    """Told to stop, both leave one checkpoint on the storage; on another node both take it."""
    whole, trial = make_trial(run="whole"), make_trial()
    train_together(whole, 2)
    (place,) = exchange.offer([trial])
    assert train_together(place, 2, told=2) == [3, 3]
    other_node(tmp_path)
    assert train_together(place, 2) == [None, None]
    exchange.bring_finished([trial])
    assert trial.finished_record()["resumed_at_step"] == 3
    assert trial.finished_record()["workers"] == 2
    assert_same_run(whole, trial)


def test_scores_so_far_are_kept_and_a_storage_in_trouble_stops_nothing(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    score = Path("results/smoke/ade20k/linear/0.json")
    score.parent.mkdir(parents=True)
    score.write_text("a score")
    exchange.keep_results_so_far("smoke")
    shutil.rmtree("results")
    exchange.bring_results("smoke")
    assert score.read_text() == "a score"

    score.write_text("another")
    (tmp_path / "file").write_text("")
    Exchange(Storage(f"file://{tmp_path}/file")).keep_results_so_far("smoke")  # below a file nothing can be
    assert score.read_text() == "another"
