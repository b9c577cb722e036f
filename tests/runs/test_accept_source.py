"""`--accept-source`: runs, results and checkpoints are kept after an edit that the user vouches for."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from regproxy.model.build import build
from regproxy.runs import result as result_module
from regproxy.runs import trial as trial_module
from regproxy.runs.accept_source import Accepted, accept_source
from regproxy.runs.record import original_fingerprint
from regproxy.runs.result import is_scored, result_path, score_run
from regproxy.runs.saved_model import save_model
from regproxy.runs.stored_run import download_run, upload_run
from regproxy.runs.trial import Trial
from regproxy.storage.folders import download_folder, upload_folder
from regproxy.storage.json_file import write_json
from regproxy.storage.remote import Storage


@pytest.fixture
def edit_source(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that gives training and scoring another source hash."""

    def edit(text: str) -> None:
        for module in (trial_module, result_module):
            monkeypatch.setattr(module, "source_hash", lambda variant, purpose: f"{purpose.entry} {text}")

    edit("before")
    return edit


@pytest.fixture
def finished(
    make_trial: Callable[..., Trial],
    edit_source: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Trial:
    """A finished run with its result and a left-over checkpoint."""
    monkeypatch.chdir(tmp_path)
    trial = make_trial()
    checkpoint = Path(trial.workspace.run_dir, "checkpoints", "step-00000004")
    checkpoint.mkdir(parents=True)
    save_model(build(trial.variant), trial.workspace.run_dir)
    Path(trial.workspace.run_dir, "metrics.jsonl").write_text("")
    trial.write_record({"steps": 8}, git_commit=None)
    write_json(result_path(trial), score_run(trial, torch.device("cpu")))
    manifest = {"format": 1, "fingerprint": trial.fingerprint, "fingerprint_parts": trial.fingerprint_parts}
    write_json(checkpoint / "manifest.json", {**manifest, "step": 4, "files": {}})
    return trial


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def again(trial: Trial, **changes: object) -> Trial:
    """Return the trial as a new process sees it, without cached properties."""
    return dataclasses.replace(trial, **changes)


def test_an_edit_is_accepted_and_recorded(finished: Trial, edit_source: Callable[[str], None]) -> None:
    before, manifest = (
        finished.finished_record(),
        Path(finished.workspace.run_dir, "checkpoints/step-00000004/manifest.json"),
    )
    scores = read(result_path(finished))["miou"]
    edit_source("after")
    trial = again(finished)
    assert trial.finished_record() is None and not is_scored(trial)
    assert accept_source([trial], dry_run=True) == Accepted(runs=1, results=0, checkpoints=1)
    assert trial.finished_record() is None
    assert accept_source([trial]) == Accepted(runs=1, results=1, checkpoints=1)
    assert accept_source([trial], dry_run=True) == Accepted(0, 0, 0)
    record = trial.finished_record()
    assert record["fingerprint"] == trial.fingerprint and record["steps"] == 8
    (entry,) = record["accepted_sources"]
    assert entry["fingerprint"] == before["fingerprint"] and entry["source"] == "regproxy.train.loop before"
    assert entry["accepted"].endswith("+00:00")
    result = read(result_path(trial))
    assert is_scored(trial) and result["run_fingerprint"] == trial.fingerprint and result["miou"] == scores
    assert read(manifest)["fingerprint"] == trial.fingerprint and read(manifest)["step"] == 4
    assert accept_source([trial]) == Accepted(0, 0, 0)
    edit_source("once more")
    assert accept_source([again(trial)]) == Accepted(1, 1, 1)
    record = again(trial).finished_record()
    assert len(record["accepted_sources"]) == 2 and original_fingerprint(record) == before["fingerprint"]
    assert original_fingerprint(before) == before["fingerprint"]


def test_nothing_else_is_accepted(finished: Trial, edit_source: Callable[[str], None]) -> None:
    """A run of another seed, variant or data is trained again, whatever the user vouches for."""
    edit_source("after")
    recipe = dataclasses.replace(finished.variant.recipe, weight_decay=0.5)
    for other in (
        again(finished, seed=7),
        again(finished, variant=dataclasses.replace(finished.variant, recipe=recipe)),
    ):
        assert accept_source([other]) == Accepted(0, 0, 0)
        assert other.finished_record() is None


def test_a_result_of_other_settings_is_scored_again(
    finished: Trial, edit_source: Callable[[str], None]
) -> None:
    edit_source("after")
    evaluation = dataclasses.replace(finished.variant.evaluation, multi_scale_ratios=())
    trial = again(finished, variant=dataclasses.replace(finished.variant, evaluation=evaluation))
    assert accept_source([trial]) == Accepted(runs=1, results=0, checkpoints=1)
    assert trial.finished_record() and not is_scored(trial)


def test_a_result_of_an_earlier_run_is_scored_again(
    finished: Trial, edit_source: Callable[[str], None]
) -> None:
    write_json(result_path(finished), {**read(result_path(finished)), "run_fingerprint": "of an earlier run"})
    edit_source("after")
    assert accept_source([again(finished)]) == Accepted(runs=1, results=0, checkpoints=1)


def test_an_interruption_between_run_and_result_is_repaired(
    finished: Trial, edit_source: Callable[[str], None]
) -> None:
    earlier = read(result_path(finished))
    edit_source("after")
    accept_source([again(finished)])
    write_json(result_path(finished), earlier)
    assert accept_source([again(finished)]) == Accepted(runs=0, results=1, checkpoints=0)
    assert is_scored(again(finished))


def test_records_without_parts_are_left_alone(finished: Trial, edit_source: Callable[[str], None]) -> None:
    """Records of earlier versions, damaged ones, and a record without its weights."""
    record = Path(finished.workspace.run_dir, "run.json")
    content = read(record)
    edit_source("after")
    for text in ("{", "[]", json.dumps({k: v for k, v in content.items() if k != "fingerprint_parts"})):
        record.write_text(text)
        assert accept_source([again(finished)]).runs == 0
        assert record.read_text() == text
    write_json(record, content)
    Path(finished.workspace.run_dir, "model.safetensors").unlink()
    assert accept_source([again(finished)]).runs == 0
    assert read(record) == content


def test_the_copy_on_a_storage_is_accepted_too(
    finished: Trial, edit_source: Callable[[str], None], tmp_path: Path
) -> None:
    """A node that scores the run downloads it by its new fingerprint and verifies its checksums."""
    stored = Storage(f"file://{tmp_path}/storage/run")
    upload_run(Path(finished.workspace.run_dir), stored)
    checkpoint = Path(finished.workspace.run_dir, "checkpoints/step-00000004")
    upload_folder(checkpoint, stored / "checkpoints/step-00000004")
    edit_source("after")
    trial = again(finished)
    assert accept_source([trial], lambda trial: trial.moved(run_dir=stored.url)) == Accepted(1, 1, 1)
    download_folder(stored / "checkpoints/step-00000004", tmp_path / "checkpoint")
    assert read(tmp_path / "checkpoint/manifest.json")["fingerprint"] == trial.fingerprint
    assert download_run(stored, tmp_path / "downloaded", trial.fingerprint)
    assert read(tmp_path / "downloaded/run.json")["accepted_sources"]


def test_mlflow_keeps_one_run(finished: Trial, edit_source: Callable[[str], None]) -> None:
    """Uploading an accepted run again must not show it twice."""
    from mlflow import MlflowClient

    from pipelines.tracking.uploader import Uploader

    def upload(trial: Trial) -> int:
        with Uploader("smoke") as uploader:
            uploader.add_result(trial, read(result_path(trial)))
        assert not uploader.failed
        client = MlflowClient(f"sqlite:///{Path('mlflow.db').absolute()}")
        return sum(len(client.search_runs([each.experiment_id])) for each in client.search_experiments())

    count = upload(finished)
    edit_source("after")
    accept_source([again(finished)])
    assert upload(again(finished)) == count == 2  # the variant and the seed
