"""The table of running trials."""

import io
import time
from collections.abc import Callable

from rich.console import Console

from pipelines.cluster.display import TrialsDisplay
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

PROGRESS = Progress(40, 80, 1.25, 6.0e-5, 12.5, 75.0, val_miou=0.345)


def test_table_shows_variant_seed_and_node(make_trial: Callable[..., Trial]) -> None:
    trials = [make_trial(seed=3), make_trial("linear")]
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with TrialsDisplay(trials, already_finished=2, console=console) as display:
        display.running(0, ["node-7", "node-7"], PROGRESS)
        time.sleep(0.6)
        display.running(1, ["node-8"], Progress(0, 80))
        text = console.file.getvalue()
        assert "2 of 4 trials finished, 2 running" in text
        row = next(line for line in text.splitlines()[::-1] if "region-4x4" in line)
        for value in ("ade20k", " 3 ", "node-7 ", "40/80", "1.2500", "12.5", "34.50", "1:15"):
            assert value in row
        assert "starting" in next(line for line in text.splitlines() if "linear" in line)
        display.ended(0, None, None)
        time.sleep(0.6)
        display.running(1, ["node-8"], None)
        assert "3 of 4 trials finished, 1 running" in console.file.getvalue()
