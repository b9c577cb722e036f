"""The grid's own parts: what is forgiven, what the board says, what the table shows, how signals arrive."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from rich.console import Console

from pipelines.cluster import guard
from pipelines.cluster.board import Board, News
from pipelines.cluster.display import GridDisplay
from pipelines.cluster.retry import ALLOWED, Budget
from pipelines.cluster.stop_signal import Interrupted, Notice, StopRequest, installed_notice
from pipelines.stage import profile_stage
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

PROGRESS = Progress(40, 80, 1.25, 6.0e-5, 12.5, 75.0, val_miou=0.345)


def starts(budget: Budget, node: str = "a") -> int:
    """How often a trial that always dies may start."""
    count = 0
    while budget.start(0) and count < 50:
        count += 1
        budget.join(0, node)
    return count


def test_crashes_without_progress_are_limited() -> None:
    assert starts(Budget(lambda: {"a"})) == ALLOWED + 1


def test_newer_checkpoint_renews_the_budget_and_the_same_one_does_not() -> None:
    budget = Budget(lambda: {"a"})
    for step in (0, 10, 20, 30, 40, 50):
        assert budget.start(0)
        budget.join(0, "a")
        budget.resume(0, step)
    for _ in range(ALLOWED):
        assert budget.start(0)
        budget.join(0, "a")
        budget.resume(0, 50)
    assert not budget.start(0)


def test_lost_nodes_and_signals_cost_nothing() -> None:
    alive = {f"{number}" for number in range(100)}
    budget = Budget(lambda: alive)
    for number in range(20):
        assert budget.start(0)
        budget.join(0, f"{number}")
        alive.discard(f"{number}")
    for _ in range(20):
        assert budget.start(0)
        budget.join(0, "50")
        budget.give_way(0)
    assert starts(budget, "60") == ALLOWED + 1


def test_board_refuses_with_what_went_wrong_and_needs_no_torch() -> None:
    board = Board(lambda: {"a"})
    for _ in range(ALLOWED + 1):
        assert board.start(7) == (False, None)
        board.join(7, "host", "a")
    assert "died" in board.start(7)[1]
    board.fail(7, "OSError: no such disk")
    assert board.start(7) == (False, "OSError: no such disk")
    board.stop()
    assert board.start(8) == (True, None)
    code = "import sys, pipelines.cluster.board, pipelines.cluster.driver; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_board_tells_notes_once() -> None:
    board = Board(set)
    board.note(1, "news")
    assert board.take().notes == [(1, "news")]
    assert board.take().notes == []


def test_board_tells_trials_of_nodes_that_leave_to_stop() -> None:
    leaving: set[str] = set()
    board = Board(set, lambda: leaving)
    assert board.told("a") is None
    leaving.add("a")
    assert Board(set, lambda: leaving).told("a") == "signal"
    assert Board(set, lambda: leaving).told("b") is None
    board.stop()
    assert board.told("a") == board.told("b") == "grid"


def test_board_answers_while_the_cluster_does_not() -> None:
    def lost() -> set[str]:
        raise ConnectionError("no answer")

    board = Board(set, lost)
    assert board.told("a") is None
    board.stop()
    assert board.told("a") == "grid"


@pytest.mark.parametrize(
    ("error", "goes_on_elsewhere"),
    [
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), True),
        (torch.AcceleratorError("CUDA error: device-side assert triggered"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("no such file"), False),
    ],
)
def test_only_errors_of_the_process_are_tried_again(
    make_trial: Callable[..., Trial],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    goes_on_elsewhere: bool,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(guard, "train_anywhere", fail)
    trial = make_trial()
    if goes_on_elsewhere:
        with pytest.raises(type(error)):
            guard.train_guarded(trial, git_commit=None)
    else:
        assert guard.train_guarded(trial, git_commit=None) == f"{type(error).__name__}: {error}"
    assert str(error) in (Path(trial.run_dir) / "error.log").read_text()


def test_notice_takes_the_reason_that_it_is_told() -> None:
    for reason in ("grid", "signal"):
        notice, answers = Notice(), iter([None, reason])
        with notice.watching(lambda answers=answers: next(answers), every_s=0.01):
            while not notice.given():
                time.sleep(0.01)
        assert notice.reason == reason


def test_table_shows_variant_seed_and_node(make_trial: Callable[..., Trial]) -> None:
    trials = [make_trial(seed=3), make_trial("linear")]
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with GridDisplay(trials, already_finished=2, console=console) as display:
        news = News(newest={0: PROGRESS}, hosts={0: ["node-7", "node-7"], 1: ["node-8"]})
        display.update(news)
        text = console.file.getvalue()
        assert "2 of 4 trials finished, 2 running" in text
        row = next(line for line in text.splitlines() if "region-4x4" in line)
        for value in ("ade20k", " 3 ", "node-7 ", "40/80", "1.2500", "12.5", "34.50", "1:15"):
            assert value in row
        assert "starting" in next(line for line in text.splitlines() if "linear" in line)
        display.end(0, None)
        display.update(news)
        assert "3 of 4 trials finished, 1 running" in console.file.getvalue()


def test_sigterm_is_a_notice_while_it_is_heeded() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Notice().heeded() as notice:
        assert installed_notice() is notice
        assert not notice.given()
        os.kill(os.getpid(), signal.SIGTERM)
        assert notice.given() and notice.reason == "signal"
    assert signal.getsignal(signal.SIGTERM) is before
    assert installed_notice() is not notice


def test_first_interrupt_asks_and_the_second_ends() -> None:
    request = StopRequest()
    with request.heeded():
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number == signal.SIGINT
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_interrupted_stage_says_so(capsys: pytest.CaptureFixture) -> None:
    def stage(profile: str) -> int:
        raise Interrupted(signal.SIGINT)

    assert profile_stage(stage, "", ["smoke"]) == 130
    assert "run again to go on" in capsys.readouterr().err
