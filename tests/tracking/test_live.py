"""Runs in MLflow while their trainings run: points, times and statuses, through every kind of end."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow import MlflowClient
from shown_runs import Shown

from pipelines.tracking.state import TrialState
from pipelines.tracking.store import MlflowStore
from pipelines.tracking.uploader import Uploader
from regproxy.runs.history import read_entries
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import Progress, Training, run_to_end

pytestmark = pytest.mark.usefixtures("quick")


def reported(uploader: Uploader, trial: Trial, training: Training) -> Iterator[Progress]:
    for progress in training:
        uploader.progress(trial, ["node-1"], progress)
        yield progress


def entries(trial: Trial) -> list[dict]:
    return read_entries(Path(trial.workspace.run_dir, "metrics.jsonl"))


def times(trial: Trial, curve: str = "loss") -> list[tuple[int, int]]:
    """Return (step, milliseconds) of the points in a trial's metrics.jsonl."""
    return [(entry["step"], round(entry["time"] * 1000)) for entry in entries(trial) if curve in entry]


def test_points_arrive_while_a_training_runs(new_trial: Trial, shown: Shown, wait_for: Callable) -> None:
    with Uploader("smoke") as uploader:
        for progress in reported(uploader, new_trial, train(new_trial, Context())):
            if progress.step == 0:
                wait_for(lambda: len(shown.runs()) == 2 and "host" in shown.seed().data.tags)
                assert shown.seed().info.status == shown.variant().info.status == "RUNNING"
                assert shown.seed().data.tags["host"] == "node-1"
            if progress.step == 4:
                wait_for(lambda: len(shown.points(shown.seed())) == 2)
                assert shown.points(shown.seed()) == times(new_trial)
        uploader.ended(new_trial, None)
    assert not uploader.failed
    seed, variant, record = shown.seed(), shown.variant(), new_trial.finished_record()
    assert shown.points(seed) == times(new_trial)
    assert shown.points(seed, "val_miou") == times(new_trial, "val_miou")
    for run in (seed, variant):
        assert run.info.status == "FINISHED"
        assert run.info.start_time == round(entries(new_trial)[0]["started"] * 1000)
        assert run.info.end_time / 1000 == pytest.approx(time.time(), abs=600)
        assert times(new_trial)[-1][1] <= run.info.end_time
        assert 0 <= run.info.end_time - run.info.start_time - 1000 * record["seconds"] < 60_000
    before = shown.everything()
    store = MlflowStore("smoke")
    store.update(TrialState(new_trial, "FINISHED"))
    store.update_variants((), last=True)
    assert shown.everything() == before


def test_a_failed_trial_shows_its_error(new_trial: Trial, shown: Shown) -> None:
    with Uploader("smoke") as uploader:
        uploader.progress(new_trial, ["node-1"], Progress(0, 8, started=1000.0))
        uploader.ended(new_trial, "the loss is nan after step 3; lower learning_rate")
    run = shown.seed()
    assert run.info.status == shown.variant().info.status == "FAILED"
    assert run.info.start_time == 1000_000
    assert run.data.tags["error"] == "the loss is nan after step 3; lower learning_rate"
    assert "lower learning_rate" in run.data.tags["mlflow.note.content"]


def test_a_trial_that_fails_before_its_first_report_shows_its_error(new_trial: Trial, shown: Shown) -> None:
    with Uploader("smoke") as uploader:
        uploader.ended(new_trial, "x" * 10_000)
    run = shown.seed()
    assert (run.info.status, len(run.data.tags["error"])) == ("FAILED", 6000)
    assert run.info.start_time == run.info.end_time


@pytest.mark.parametrize("end", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_trial_is_killed_and_continues_in_the_same_run(
    new_trial: Trial, shown: Shown, end: type[BaseException]
) -> None:
    training = train(new_trial, Context())
    with suppress(end), Uploader("smoke") as uploader:
        for progress in reported(uploader, new_trial, training):
            if progress.step == 6:
                with suppress(end):
                    training.throw(end)  # saves no checkpoint: steps 5 and 6 are trained again
                raise end
    killed, first = shown.seed(), entries(new_trial)[0]["started"]
    assert killed.info.status == shown.variant().info.status == "KILLED"
    points = shown.points(killed)
    assert [step for step, _ in points] == [2, 4, 6]
    assert points[-1][1] <= killed.info.end_time

    with Uploader("smoke") as uploader:
        uploader.add_missing(new_trial)
        run_to_end(
            train(new_trial, Context()), lambda progress: uploader.progress(new_trial, ["a"], progress)
        )
        uploader.ended(new_trial, None)
    run = shown.seed()
    assert (run.info.run_id, run.info.status) == (killed.info.run_id, "FINISHED")
    assert run.info.start_time == round(first * 1000)
    assert run.info.end_time > killed.info.end_time
    assert shown.points(run)[:3] == points, "a step that is trained again has its first point"
    assert [step for step, _ in shown.points(run)] == [2, 4, 6, 8]


def test_a_failed_trial_that_is_trained_again_loses_its_error(new_trial: Trial, shown: Shown) -> None:
    for error in ("out of memory", None):
        with Uploader("smoke") as uploader:
            uploader.progress(new_trial, ["a"], Progress(0, 8, started=1000.0))
            if error:
                uploader.ended(new_trial, error)
    run = shown.seed()
    assert run.info.status == "KILLED"
    assert "error" not in run.data.tags and "failed" not in run.data.tags["mlflow.note.content"]


def test_a_preempted_trial_waits_and_runs_again(new_trial: Trial, shown: Shown, wait_for: Callable) -> None:
    def status() -> str:
        return shown.seed().info.status

    with Uploader("smoke") as uploader:
        uploader.progress(new_trial, ["a"], Progress(0, 8, started=1000.0))
        wait_for(lambda: len(shown.runs()) == 2)
        uploader.progress(new_trial, [], None)
        wait_for(lambda: status() == "SCHEDULED")
        assert shown.variant().info.status == "RUNNING"
        uploader.progress(new_trial, ["b"], None)
        uploader.progress(new_trial, ["b"], Progress(4, 8, started=1000.0))
        wait_for(lambda: status() == "RUNNING")
        assert shown.seed().data.tags["host"] == "b"
        assert shown.seed().info.end_time is None


def test_an_outage_in_the_middle_loses_nothing(
    new_trial: Trial,
    shown: Shown,
    wait_for: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise ConnectionError("the server is away")

    with Uploader("smoke") as uploader:
        for progress in reported(uploader, new_trial, train(new_trial, Context())):
            if progress.step == 2:
                wait_for(lambda: len(shown.runs()) == 2 and shown.points(shown.seed()))
                away = pytest.MonkeyPatch()
                away.setattr(MlflowClient, "log_batch", fail)
            if progress.step == 4:
                wait_for(lambda: uploader.failed)
                away.undo()
            if progress.step == 6:
                wait_for(lambda: len(shown.points(shown.seed())) == 3)
        uploader.ended(new_trial, None)
    assert not uploader.failed
    assert shown.points(shown.seed()) == times(new_trial)
    assert shown.seed().info.status == "FINISHED"
    assert capfd.readouterr().err.count("warning: ") == 1
