"""Trials in which chosen processes die at chosen steps: a driver that runs as a process of its own.

python tests/faulty_trials.py <pickled Scenario>
"""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from pipelines.cluster.display import Observer
from pipelines.cluster.session import ray_session
from pipelines.cluster.stop_signal import Interrupted
from pipelines.cluster.trials import run_trials
from regproxy.config.profile import Resources
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.progress import Training
from regproxy.train.remote import train_anywhere


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that happens to a worker of a trial in its `attempt` (1, 2, ...), `after` so many steps.

    `start` is a crash before the first step, `checkpoint` a death while the next checkpoint is written,
    `loader` the death of a process that loads data, `drain` the announcement that the node will leave the
    cluster.
    """

    what: Literal["kill", "term", "node", "driver", "interrupt", "checkpoint", "start", "loader", "drain"]
    attempt: int
    after: int = 0
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What to train, what goes wrong (by the trial's run folder) and where the log of events lies.

    Each step takes at least `step_s` seconds.
    """

    trials: list[Trial]
    log: str
    resources: Resources = field(default_factory=Resources)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    step_s: float = 0.0


class Log:
    """Events of one rank of a trial as JSON lines, each with its time."""

    def __init__(self, scenario: Scenario, trial: Trial, rank: int) -> None:
        self.path = log_path(scenario, trial, rank)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **values: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"event": event, "time": time.time(), **values}) + "\n")


def log_path(scenario: Scenario, trial: Trial, rank: int = 0) -> Path:
    return Path(scenario.log) / f"{Path(trial.workspace.run_dir).name}-{rank}.jsonl"


def events(scenario: Scenario, trial: Trial, *names: str, rank: int = 0) -> list[dict[str, Any]]:
    """Return the events of a rank of a trial, in order."""
    path = log_path(scenario, trial, rank)
    entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [entry for entry in entries if entry["event"] in names]


def train_with_faults(scenario: Scenario) -> Callable[..., Training]:
    """Return a `train_anywhere` during which the scenario's faults happen."""

    def train(trial: Trial, context: Context) -> Training:
        import ray

        log = Log(scenario, trial, context.rank)
        attempt = len(events(scenario, trial, "start", rank=context.rank)) + 1
        node = ray.get_runtime_context().get_node_id()
        log.write("start", attempt=attempt, node=node, pid=os.getpid())
        mine = (attempt, context.rank)
        faults = [f for f in scenario.faults.get(trial.workspace.run_dir, []) if (f.attempt, f.rank) == mine]
        for fault in faults:
            if fault.what == "start":
                happen(fault, scenario)
        training = train_anywhere(trial, context)
        try:
            progress = next(training)
            first_step = newest = progress.step
            log.write("begin", attempt=attempt, step=first_step)
            while True:
                if progress.step > newest:
                    newest, made = progress.step, progress.step - first_step
                    time.sleep(scenario.step_s)
                    log.write("step", attempt=attempt, made=made)
                    for fault in faults:
                        if fault.after == made:
                            log.write("fault", what=fault.what, attempt=attempt, made=made)
                            happen(fault, scenario)
                yield progress
                progress = next(training)
        except StopIteration as end:
            return end.value
        finally:
            training.close()

    return train


def happen(fault: Fault, scenario: Scenario) -> None:
    if fault.what in ("kill", "start"):
        os.kill(os.getpid(), signal.SIGKILL if fault.what == "kill" else signal.SIGSEGV)
    elif fault.what == "term":
        os.kill(os.getpid(), signal.SIGTERM)
    elif fault.what == "node":  # the node's own process: Ray's other processes there end with it
        assert Path(f"/proc/{os.getppid()}/comm").read_text().strip() == "raylet"
        os.kill(os.getppid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault.what == "loader":
        (loader,) = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[-1:]
        os.kill(int(loader), signal.SIGKILL)
    elif fault.what == "drain":
        drain()
    elif fault.what == "checkpoint":
        torch.save = die_while_saving
    else:
        os.kill(int((Path(scenario.log) / "driver").read_text()), signals[fault.what])
        time.sleep(60 if fault.what == "driver" else 0)  # Ray kills this process when its driver is dead


signals = {"driver": signal.SIGKILL, "interrupt": signal.SIGINT}


def drain() -> None:
    """Announce to the cluster that this node will leave in a minute."""
    import ray

    here = ray.get_runtime_context()
    options = {"address": here.gcs_address, "node-id": here.get_node_id(), "reason-message": "spot"}
    options |= {"reason": "DRAIN_NODE_REASON_PREEMPTION", "deadline-remaining-seconds": "60"}
    command = [str(Path(sys.executable).parent / "ray"), "drain-node"]
    subprocess.run([*command, *(f"--{name}={value}" for name, value in options.items())], check=True)


def die_while_saving(content: object, path: Path) -> None:
    path.write_bytes(b"half a check")
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    scenario: Scenario = pickle.loads(Path(sys.argv[1]).read_bytes())
    Path(scenario.log).mkdir(parents=True, exist_ok=True)
    (Path(scenario.log) / "driver").write_text(str(os.getpid()))
    errors: dict[str, str | None] = {}

    class Printer(Observer):
        def message(self, index: int | None, text: str) -> None:
            name = "" if index is None else f"{Path(scenario.trials[index].workspace.run_dir).name}: "
            print(f"{name}{text}", file=sys.stderr, flush=True)

        def ended(self, index: int, error: str | None, traceback: str | None) -> None:
            errors[scenario.trials[index].workspace.run_dir] = error
            self.message(index, error or "trained")

    try:
        with ray_session():
            run_trials(
                scenario.trials,
                scenario.resources,
                observer=Printer(),
                train=train_with_faults(scenario),
            )
    except Interrupted as interrupt:
        return 128 + interrupt.number
    (Path(scenario.log) / "errors.json").write_text(json.dumps(errors))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
