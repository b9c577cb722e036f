"""Tune's trainable for a trial with one worker: it trains in the Tune actor itself."""

import contextlib
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import cv2
import ray
import torch
from ray import tune

from pipelines.cluster.ray_private import draining_nodes
from pipelines.cluster.stop_signal import PreemptedError, PreemptionSignal
from regproxy.config.profile import Resources
from regproxy.data.loader import is_lost_worker
from regproxy.errors import StorageError, UserError
from regproxy.runs.stored_run import leave_error
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.progress import Training

_POLL_INTERVAL_S = 0.2


@dataclass(frozen=True)
class Work:
    """What all trials share; `train` is called with a trial, its `context` and `git_commit`."""

    trials: list[Trial]
    resources: Resources
    git_commit: str | None
    coordinator: Any
    train: Callable[..., Training]


class TrialActor(tune.Trainable):
    """A trial that trains in this process.

    Each `step` returns one report of the training. Results have the keys `hosts` and `nodes` (where the trial
    runs), `progress` and `preempted`; the last one has `done` with `error` (text or None), `traceback` or
    `stopped`.
    """

    def setup(self, config: dict, *, work: Work) -> None:
        self.work = work
        self.reset_config(config)

    def reset_config(self, new_config: dict) -> bool:
        self.index = new_config["index"]
        self.training: Training | None = None
        self.preempted = False
        return True

    def step(self) -> dict:
        if self.preempted:  # the driver knows it from the last result; this process must not be reused
            raise PreemptedError("saved a checkpoint because this process or its node will end")
        trial, work = self.work.trials[self.index], self.work
        try:
            if self.training is None:
                cv2.setNumThreads(1)  # trials run in parallel, so each uses one thread
                self.preemption = PreemptionSignal()
                self.preemption.install()
                leave_error(trial, None)
                self.training = work.train(trial, Context.current(), git_commit=work.git_commit)
                return location()
            progress = next(self.training)
            stopped = ray.get(work.coordinator.stopping.remote())
            self.preempted = not stopped and is_preempted(self.preemption)
            if stopped or self.preempted:
                note = close(self.training)
                progress = replace(progress, notes=(*progress.notes, *([note] if note else [])))
        except StopIteration:
            return self._end(error=None)
        except Exception as error:
            text = traceback.format_exc()
            leave_error(trial, f"on {socket.gethostname()}\n{text}")
            if self.preempted or needs_new_process(error):
                raise
            return self._end(error=describe(error), traceback=None if isinstance(error, UserError) else text)
        if stopped:
            return self._end(stopped=True, progress=progress)
        return location() | {"progress": progress, "preempted": self.preempted}

    def cleanup(self) -> None:
        if self.training is not None:
            close(self.training)

    def _end(self, **outcome: Any) -> dict:
        self.training = None
        self.preemption.uninstall()
        return {"done": True, **outcome}


def location() -> dict[str, list[str]]:
    """Return where this process runs: host name and Ray's node id."""
    return {"hosts": [socket.gethostname()], "nodes": [ray.get_runtime_context().get_node_id()]}


def is_preempted(signal: PreemptionSignal) -> bool:
    """Return whether this process received SIGTERM or its node will leave the cluster."""
    if signal.received:
        return True
    with contextlib.suppress(Exception):  # a cluster that does not answer is asked again at the next report
        return not draining_nodes().isdisjoint(location()["nodes"])
    return False


def needs_new_process(error: Exception) -> bool:
    """Return whether a training that failed with this error may succeed in a new process."""
    return is_lost_worker(error) or isinstance(error, torch.AcceleratorError)


def close(training: Training) -> str | None:
    """Close a training, which saves a checkpoint; return a message if it could not be uploaded."""
    try:
        training.close()
    except StorageError as error:
        return str(error)
    return None


def describe(error: Exception) -> str:
    """Return an error in one line."""
    return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
