"""The trainables without a cluster: the report of an error, all reports of the workers, and preemption."""

import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pipelines.cluster import trial_actor, worker_group
from pipelines.cluster.stop_signal import SignalRecord
from pipelines.cluster.trial_actor import TrialActor
from pipelines.cluster.worker_group import WorkerGroupActor
from regproxy.config.profile import Resources
from regproxy.errors import DataError
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.progress import Progress, Training


def make_actor(kind: type, trial: Trial, train: Callable[..., Training], reports: list) -> TrialActor:
    """Return an actor that Tune has not started; its coordinator hands out `reports` once."""
    take = SimpleNamespace(remote=lambda index: [reports.pop(0) for _ in range(len(reports))])
    coordinator = SimpleNamespace(take=take, stopping=SimpleNamespace(remote=lambda index: False))
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


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("no such file"), False),
    ],
)
def test_only_errors_of_the_process_are_retried(
    make_trial: Callable[..., Trial], error: Exception, expected: bool
) -> None:
    with pytest.raises(type(error)) if expected else nullcontext():
        report = trial_actor.report_error(error, make_trial(), Context())
        assert report["error"] == f"{type(error).__name__}: {error}"
    assert Path(make_trial().workspace.run_dir, "error.log").exists()


def test_a_node_that_leaves_later_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each report looks at the leaving nodes again, also after a cluster did not answer."""
    answers = iter([set(), ConnectionError("no answer"), {"other"}, {"here"}])

    def draining() -> set[str]:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(trial_actor, "draining_nodes", draining)
    monkeypatch.setattr(trial_actor, "location", lambda: {"hosts": ["vm"], "nodes": ["here"]})
    record = SignalRecord()
    assert [trial_actor.is_preempted(record) for _ in range(4)] == [False, False, False, True]
    monkeypatch.setattr(trial_actor, "draining_nodes", set)
    record(signal.SIGTERM, None)
    assert trial_actor.is_preempted(record)
