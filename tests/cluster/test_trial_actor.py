"""The trainables without a cluster: what they return for an error, and that no report of a worker is lost."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.cluster import trial_actor, worker_group
from pipelines.cluster.trial_actor import TrialActor
from pipelines.cluster.worker_group import WorkerGroupActor
from regproxy.config.profile import Resources
from regproxy.errors import DataError
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress, Training


def make_actor(kind: type, trial: Trial, train: Callable[..., Training], reports: list) -> TrialActor:
    """Return an actor that Tune has not started; its coordinator hands out `reports` once."""
    take = SimpleNamespace(remote=lambda index: [reports.pop(0) for _ in range(len(reports))])
    coordinator = SimpleNamespace(take=take, stopping=SimpleNamespace(remote=lambda: False))
    actor = kind.__new__(kind)
    actor.setup({"index": 0}, work=trial_actor.Work([trial], Resources(), coordinator, train))
    return actor


@pytest.mark.parametrize(
    ("error", "text", "is_bug"),
    [
        (ValueError("not enough values"), "ValueError: not enough values", True),
        (DataError("shard 3 is damaged"), "shard 3 is damaged", False),
    ],
)
def test_an_error_ends_the_trial_and_stands_in_error_log(
    make_trial: Callable[..., Trial],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    text: str,
    is_bug: bool,
) -> None:
    def fail(*_: object, **__: object) -> Training:
        raise error
        yield

    monkeypatch.setattr(trial_actor, "location", lambda: {"hosts": ["vm"], "nodes": ["a"]})
    trial = make_trial()
    actor = make_actor(TrialActor, trial, fail, [])
    assert actor.step() == {"hosts": ["vm"], "nodes": ["a"]}
    result = actor.step()
    assert result["done"] and result["error"] == text
    assert (result["traceback"] is not None) == is_bug
    assert str(error) in (Path(trial.workspace.run_dir) / "error.log").read_text()


def test_every_report_of_a_worker_is_returned_in_order(
    make_trial: Callable[..., Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_group, "ray", SimpleNamespace(get=lambda value: value))
    where = [{"hosts": ["vm"], "nodes": [name]} for name in ("a", "b")]
    steps = [{"progress": Progress(step, 40)} for step in (0, 20)]
    error = {"done": True, "error": "shard 3 is damaged", "traceback": None}
    reports: list = []

    def run_workers(index: int, work: trial_actor.Work, outcome: dict) -> None:
        reports.extend([*where, *steps, dict(error)])
        outcome["died"] = "a worker died"

    monkeypatch.setattr(worker_group, "_run_workers", run_workers)
    actor = make_actor(WorkerGroupActor, make_trial(), lambda: None, reports)
    assert [actor.step() for _ in range(5)] == [*where, *steps, error]
