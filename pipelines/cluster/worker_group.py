"""Tune's trainable for a trial with several workers: it waits for a Ray Train run."""

import os
import socket
import threading
import time
import traceback
import uuid
from collections import deque
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import ray
from ray import train as ray_train
from ray import tune
from ray.train.torch import TorchTrainer

from pipelines.cluster.ray_private import in_worker_main_thread
from pipelines.cluster.ray_storage import ray_storage
from pipelines.cluster.stop_signal import PreemptedError, PreemptionSignal
from pipelines.cluster.trial_actor import Work, close, describe, is_preempted, location
from regproxy.errors import UserError
from regproxy.runs.stored_run import leave_error
from regproxy.train.context import Context
from regproxy.train.progress import Progress, Training

_POLL_INTERVAL_S = 0.2


class WorkerGroupActor(tune.Trainable):
    """A trial that trains on several workers; results are those of TrialActor.

    A worker that dies ends the whole Ray Train run, and the retry policy decides about a restart.
    """

    def setup(self, config: dict, *, work: Work) -> None:
        self.work = work
        self.reset_config(config)

    def reset_config(self, new_config: dict) -> bool:
        self.index = new_config["index"]
        self.thread: threading.Thread | None = None
        self.seen: dict[str, list[str]] = {"hosts": [], "nodes": []}
        self.reports: deque[Progress | dict[str, Any]] = deque()
        self.error: str | None = None
        return True

    def step(self) -> dict:
        if self.thread is None:
            self.outcome: dict[str, Any] = {}
            ray.get(self.work.coordinator.take.remote(self.index))  # left by an attempt that was killed
            self.thread = threading.Thread(target=self._fit, name="ray-train", daemon=True)
            self.thread.start()
        while True:
            running = self.thread.is_alive()  # before `take`, so that no report is missed
            self.reports += ray.get(self.work.coordinator.take.remote(self.index))
            if self.reports:
                report = self.reports.popleft()
                if isinstance(report, Progress):
                    return self.seen | {"progress": report}
                self.seen = {key: self.seen[key] + report.get(key, []) for key in self.seen}
                self.error = self.error or report.get("error")
                return dict(self.seen)
            if not running:
                return self.seen | {"done": True, **({"error": self.error} if self.error else self.outcome)}
            if not self.seen["nodes"] and ray.get(self.work.coordinator.stopping.remote()):
                return {"done": True, "stopped": True}  # the workers still wait for free resources
            time.sleep(_POLL_INTERVAL_S)

    def _fit(self) -> None:
        resources, trial = self.work.resources, self.work.trials[self.index]
        per_worker = {"CPU": resources.cpus} | ({"GPU": resources.gpus} if resources.gpus else {})
        # Workers wait for free resources as long as it takes; a dead worker is noticed within a second.
        os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(24 * 3600))
        os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
        os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # the retry policy restarts trials
        name = f"{trial.variant.data.name}-{trial.variant.name}-{trial.seed}-{uuid.uuid4().hex[:12]}"
        trainer = TorchTrainer(
            partial(train_as_worker, self.index, self.work),
            scaling_config=ray_train.ScalingConfig(
                num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
            ),
            run_config=ray_train.RunConfig(
                name=name,  # a new one per attempt: trials resume from their own checkpoints, not from Ray's
                **ray_storage(trial),
                failure_config=ray_train.FailureConfig(
                    max_failures=0, max_preemption_failures=0, controller_failure_limit=0
                ),
                logging_config=ray_train.LoggingConfig(log_level="ERROR"),
                callbacks=[in_worker_main_thread(_install_preemption_signal)],
            ),
        )
        try:
            self.outcome = trainer.fit().return_value
        except Exception as error:
            text = str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
            self.outcome = {"preempted": True} if PreemptedError.__name__ in str(error) else {"died": text}


def _install_preemption_signal() -> None:
    PreemptionSignal().install()


def train_as_worker(index: int, work: Work) -> dict:
    """Train as one worker of a Ray Train run; return the outcome, which is the same on all workers."""
    cv2.setNumThreads(1)
    trial, context, preemption = work.trials[index], Context.current(), PreemptionSignal.current()
    ray.get(work.coordinator.put.remote(index, location()))
    if context.is_main:
        leave_error(trial, None)
    try:
        training = work.train(trial, context, git_commit=work.git_commit)
        for progress in training:
            stopping = context.is_main and ray.get(work.coordinator.put.remote(index, progress))
            if context.any(stopping):
                _close(training, progress, index, work)
                return {"stopped": True}
            if context.any(is_preempted(preemption)):
                _close(training, progress, index, work)
                raise PreemptedError(f"saved a checkpoint after step {progress.step}")
    except PreemptedError:
        raise
    except Exception as error:
        text = f"on {socket.gethostname()}, worker {context.rank}\n{traceback.format_exc()}"
        leave_error(trial, text, overwrite=isinstance(error, UserError))  # others fail because one did
        if isinstance(error, UserError):
            ray.get(work.coordinator.put.remote(index, {"error": describe(error)}))
        raise
    return {"error": None}


def _close(training: Training, progress: Progress, index: int, work: Work) -> None:
    """Close a training; report a checkpoint that could not be uploaded."""
    if note := close(training):
        ray.get(work.coordinator.put.remote(index, replace(progress, notes=(note,))))
