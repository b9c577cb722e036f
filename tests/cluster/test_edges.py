"""The edges without Ray: what a terminal shows and how a stage fails."""

import io
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from pipelines import ablate, prepare
from pipelines.cluster.display import TrialsDisplay, clock
from pipelines.tracking.values import flatten
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

MakeTrial = Callable[..., Trial]


def progress(step: int) -> Progress:
    return Progress(step, 100, 0.5, 1e-3, 20.0, 61.0, 0.25)


@pytest.mark.parametrize("terminal", [True, False])
def test_display_shows_running_and_ended_trials(make_trial: MakeTrial, terminal: bool) -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=140)
    trials = [make_trial(), make_trial(seed=1), make_trial(seed=2)]
    with TrialsDisplay(trials, already_finished=2, console=console) as display:
        display.running(2, ["near"], None)
        display.message(1, "resumes from step 5")
        display.message(None, "all is well")
        display.running(0, ["near"], progress(40))
        time.sleep(0.6)
        display.running(1, ["far", "far", "farther"], progress(10))
        display.ended(0, None, None)
        display.ended(2, "ValueError: [no] markup", None)
    shown = text.getvalue()
    assert "[3/5] ade20k/region-4x4/0 trained, loss 0.5000" in shown
    assert "[4/5] ade20k/region-4x4/2 FAILED: ValueError: [no] markup" in shown
    assert "  ade20k/region-4x4/1: resumes from step 5" in shown
    assert "all is well" in shown
    assert ("far farther" in shown and "starting" in shown) == terminal
    assert ("10/100" in shown and "1:01" in shown and "25.00" in shown) == terminal


def test_clock() -> None:
    assert [clock(seconds) for seconds in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]


@pytest.mark.parametrize("stage", [ablate, prepare])
def test_a_stage_names_the_nearest_profile(stage: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert stage.main(["smok"]) == 1
    assert "error: profile: 'smok' is not known" in capsys.readouterr().err


def test_missing_data_is_named_before_any_training(
    capsys: pytest.CaptureFixture[str], monkeypatch, tmp_path
) -> None:
    (tmp_path / "pipelines").symlink_to(prepare.Path("pipelines").absolute())
    monkeypatch.chdir(tmp_path)
    assert prepare.main(["camvid"]) == 1
    assert "root data/camvid is missing" in capsys.readouterr().err
    assert ablate.main(["camvid"]) == 1
    error = capsys.readouterr().err
    assert "data/prepared/camvid/camvid" in error
    assert "Traceback" not in error


def test_flatten_gives_dotted_keys() -> None:
    assert flatten({"a": {"b": 1, "c": {"d": [2]}}, "e": None}) == {"a.b": 1, "a.c.d": [2], "e": None}
