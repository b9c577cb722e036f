"""What the fault tests share: their recipe, new nodes, the end of a driver, and the time of each recovery."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faulty_trials import Scenario, events

from regproxy.runs.trial import Trial

MakeTrial = Callable[..., Trial]
EVERY = 5  # steps between checkpoints
RECIPE = {"steps": 24, "checkpoint_every": EVERY, "log_every": 1, "validate_every": 12}


def add_node(cluster: Any) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)


def finish(process: subprocess.Popen, scenario: Scenario) -> dict[str, str | None]:
    """Wait for a driver; return the errors by run folder."""
    assert process.wait(timeout=240) == 0
    return json.loads((Path(scenario.log) / "errors.json").read_text())


def report_recoveries(scenario: Scenario, trial: Trial, rank: int = 0) -> None:
    """Print the seconds between each fault and the first new step."""
    what = None
    for event in sorted(
        events(scenario, trial, "fault", rank=rank) + events(scenario, trial, "step"), key=lambda e: e["time"]
    ):
        if event["event"] == "fault":
            what = event
        elif what and event["attempt"] > what["attempt"]:
            seconds = event["time"] - what["time"]
            print(
                f"{Path(trial.workspace.run_dir).name}: {what['what']}, first new step after {seconds:.1f} s"
            )
            what = None
