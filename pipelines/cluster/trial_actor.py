"""Tune's trainable for a trial with one worker: it trains in the Tune actor itself."""

import contextlib
import signal
import socket
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import cv2
import ray
import torch
from ray import tune

from pipelines.cluster.ray_private import draining_nodes
from pipelines.cluster.stop_signal import PreemptedError, SignalRecord, recorded_signals
from regproxy.config.profile import Resources
from regproxy.config.search import with_values
from regproxy.data.loader import is_lost_worker
from regproxy.errors import StorageError, UserError
from regproxy.runs.stored_run import leave_error
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.progress import Training

Report = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What all trials share; `train` is called with a trial and its `Context`."""

    trials: list[Trial]
    resources: Resources
    coordinator: Any
    train: Callable[[Trial, Context], Training]

    def with_values(self, index: int, values: Mapping[str, Any]) -> "Work":
        """Return the work with other values of some settings of a trial's variant."""
        if not values:
            return self
        trials = list(self.trials)
        trials[index] = replace(trials[index], variant=with_values(trials[index].variant, values))
        return replace(self, trials=trials)


class TrialActor(tune.Trainable):
    """A trial that trains in this process; each `step` returns the next report of `training_reports`."""

    def setup(self, config: dict, *, work: Work) -> None:
        self.work = work
        self.reset_config(config)

    def reset_config(self, new_config: dict) -> bool:
        index = new_config["index"]
        self.reports = self.start(index, self.work.with_values(index, new_config.get("values", {})))
        return True

    def start(self, index: int, work: Work) -> Iterator[Report]:
        """Return the reports of a trial as a generator that trains."""
        return training_reports(index, work, Context.current())

    def step(self) -> Report:
        return next(self.reports)

    def cleanup(self) -> None:
        self.reports.close()


def training_reports(index: int, work: Work, context: Context) -> Iterator[Report]:
    """Train a trial as one of its workers and yield reports; closing the generator saves a checkpoint.

    The first report has `hosts` and `nodes`, where the worker runs. The others have `progress`, and
    `preempted` or `stopped` if the training was closed. The last one has `done` and, unless the trial was
    stopped, `error`: None if it finished, else a line, with the `traceback` of a bug.

    Raises:
        PreemptedError: after a report with `preempted`; this process must not be used again.
        Exception: the training failed and may succeed in a new process.
    """
    trial, stopped, preempted = work.trials[index], False, False
    cv2.setNumThreads(1)  # trials run in parallel, so each uses one thread
    with recorded_signals(signal.SIGTERM) as preemption:
        if context.is_main:
            leave_error(trial, None)
        yield location()
        training = work.train(trial, context)
        try:
            for progress in training:
                stopped = context.any(context.is_main and ray.get(work.coordinator.stopping.remote(index)))
                preempted = not stopped and context.any(is_preempted(preemption))
                if stopped or preempted:
                    progress = replace(progress, notes=(*progress.notes, *close(training)))
                    yield {"progress": progress, "stopped": stopped, "preempted": preempted, "done": stopped}
                    break
                yield {"progress": progress}
        except Exception as error:
            yield report_error(error, trial, context)
            return
        except GeneratorExit:
            close(training)
            raise
        if preempted:
            raise PreemptedError("saved a checkpoint because this process or its node will end")
        if not stopped:
            yield {"done": True, "error": None}


def report_error(error: Exception, trial: Trial, context: Context) -> Report:
    """Write the error's traceback to the run's error.log; return the last report, or raise the error again.

    Of several workers only one that has a UserError knows why it fails: others may fail because that one did.
    """
    is_user_error, text = isinstance(error, UserError), traceback.format_exc()
    alone = context.world_size == 1
    where = f"on {socket.gethostname()}, worker {context.rank}\n"
    leave_error(trial, where + text, overwrite=alone or is_user_error)
    needs_new_process = is_lost_worker(error) or isinstance(error, torch.AcceleratorError)
    if not is_user_error and (needs_new_process or not alone):
        raise error
    line = str(error) if is_user_error else f"{type(error).__name__}: {error}"
    return {"done": True, "error": line, "traceback": None if is_user_error else text}


def location() -> Report:
    """Return where this process runs: host name and Ray's node id."""
    return {"hosts": [socket.gethostname()], "nodes": [ray.get_runtime_context().get_node_id()]}


def is_preempted(record: SignalRecord) -> bool:
    """Return whether this process received SIGTERM or its node will leave the cluster."""
    if record.number is not None:
        return True
    with contextlib.suppress(Exception):  # a cluster that does not answer is asked again at the next report
        return not draining_nodes().isdisjoint(location()["nodes"])
    return False


def close(training: Training) -> tuple[str, ...]:
    """Close a training, which saves a checkpoint; return a message if it could not be uploaded."""
    try:
        training.close()
    except StorageError as error:
        return (str(error),)
    return ()
