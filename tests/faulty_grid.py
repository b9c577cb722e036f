"""A grid in which chosen processes die at chosen steps: a driver to be run by itself, and what it is told.

python tests/faulty_grid.py <pickled Plan>
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

from pipelines.cluster.guard import train_guarded
from pipelines.cluster.session import ray_session
from pipelines.cluster.stop_signal import Interrupted
from pipelines.cluster.trials import run_trials
from regproxy.config.profile import Resources
from regproxy.runs.trial import Trial


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that happens to a worker of a trial in its `attempt` (1, 2, ...), `after` so many steps.

    `start` is a crash before the first step, `checkpoint` a death amid writing the next checkpoint, `loader`
    that of a process that loads data, `drain` a notice to the node.
    """

    what: Literal["kill", "term", "node", "driver", "interrupt", "checkpoint", "start", "loader", "drain"]
    attempt: int
    after: int = 0
    rank: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to train, what goes wrong (by the trial's run directory) and where to write what happened.

    Each step takes at least `step_s` seconds.
    """

    trials: list[Trial]
    log: str
    resources: Resources = field(default_factory=Resources)
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    step_s: float = 0.0


class Log:
    """What one rank of a trial lived through: JSON lines, with the time of each."""

    def __init__(self, plan: Plan, trial: Trial, rank: int) -> None:
        self.path = log_path(plan, trial, rank)
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: str, **values: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps({"event": event, "time": time.time(), **values}) + "\n")


def log_path(plan: Plan, trial: Trial, rank: int = 0) -> Path:
    return Path(plan.log) / f"{Path(trial.run_dir).name}-{rank}.jsonl"


def events(plan: Plan, trial: Trial, *names: str, rank: int = 0) -> list[dict[str, Any]]:
    """Returns what happened to a rank of a trial, in order."""
    path = log_path(plan, trial, rank)
    entries = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [entry for entry in entries if entry["event"] in names]


def train_with_faults(plan: Plan) -> Callable[..., str | None]:
    """Returns a `train_guarded` to which the plan's faults happen."""

    def train(trial: Trial, *, git_commit: str | None, **hooks: Callable) -> str | None:
        import ray
        from torch import distributed

        rank = distributed.get_rank() if distributed.is_initialized() else 0
        log = Log(plan, trial, rank)
        attempt = len(events(plan, trial, "start", rank=rank)) + 1
        node = ray.get_runtime_context().get_node_id()
        log.write("start", attempt=attempt, node=node, pid=os.getpid())
        faults = [f for f in plan.faults.get(trial.run_dir, []) if (f.attempt, f.rank) == (attempt, rank)]
        made = 0

        def begin(step: int) -> None:
            log.write("begin", attempt=attempt, step=step)
            hooks["begin"](step)

        def stopping() -> bool:
            nonlocal made
            made += 1
            time.sleep(plan.step_s)
            log.write("step", attempt=attempt, made=made)
            for fault in faults:
                if fault.after == made:
                    log.write("fault", what=fault.what, attempt=attempt, made=made)
                    happen(fault, plan)
            return hooks["stopping"]()

        for fault in faults:
            if fault.what == "start":
                happen(fault, plan)
        return train_guarded(trial, git_commit=git_commit, **{**hooks, "begin": begin, "stopping": stopping})

    return train


def happen(fault: Fault, plan: Plan) -> None:
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
        os.kill(int((Path(plan.log) / "driver").read_text()), signals[fault.what])
        time.sleep(60 if fault.what == "driver" else 0)  # whoever lost its driver will be killed


signals = {"driver": signal.SIGKILL, "interrupt": signal.SIGINT}


def drain() -> None:
    """Tells the cluster that this node's machine will be gone in a minute."""
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
    plan: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    Path(plan.log).mkdir(parents=True, exist_ok=True)
    (Path(plan.log) / "driver").write_text(str(os.getpid()))
    errors: dict[str, str | None] = {}

    def on_end(index: int, error: str | None) -> None:
        errors[plan.trials[index].run_dir] = error
        print(f"{Path(plan.trials[index].run_dir).name}: {error or 'trained'}", file=sys.stderr, flush=True)

    def watch(news: Any) -> None:
        for index, text in news.notes:
            name = "" if index is None else f"{Path(plan.trials[index].run_dir).name}: "
            print(f"{name}{text}", file=sys.stderr, flush=True)

    hooks = {"watch": watch, "on_end": on_end, "train": train_with_faults(plan)}
    try:
        with ray_session():
            run_trials(plan.trials, plan.resources, git_commit=None, **hooks)
    except Interrupted as interrupt:
        return 128 + interrupt.number
    (Path(plan.log) / "errors.json").write_text(json.dumps(errors))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
