"""Tune's trainable for a trial with several workers: it waits for a Ray Train run."""

import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial

import ray
from ray import train as ray_train
from ray.train.torch import TorchTrainer

from pipelines.cluster.ray_private import in_worker_main_thread
from pipelines.cluster.session import needs
from pipelines.cluster.stop_signal import SignalRecord
from pipelines.cluster.trial_actor import Report, TrialActor, Work, training_reports
from regproxy.train.context import Context

_POLL_INTERVAL_S = 0.2
_ENVIRONMENT = {
    # Workers wait for free resources as long as it takes; a dead worker is noticed within a second.
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": str(24 * 3600),
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # the retry policy restarts trials
}


class WorkerGroupActor(TrialActor):
    """A trial that trains on several workers; a worker that dies ends all of them."""

    def start(self, index: int, work: Work) -> Iterator[Report]:
        """Return the reports of a trial as a generator that trains."""
        return worker_group_reports(index, work)


def worker_group_reports(index: int, work: Work) -> Iterator[Report]:
    """Train a trial on several workers and yield their reports in order, the last one when all have ended.

    The last report has `died` with a message if the workers ended without saying why.
    """
    ray.get(work.coordinator.take.remote(index))  # left by an attempt that was killed
    outcome: Report = {"error": None}
    thread = threading.Thread(target=_run_workers, args=(index, work, outcome), daemon=True)
    thread.start()
    started, running = False, True
    while running:
        running = thread.is_alive()  # before `take`, so that no report is missed
        for report in ray.get(work.coordinator.take.remote(index)):
            started = True
            if not report.pop("done", False):
                yield report
            elif report.get("error") or report.get("stopped"):
                outcome = report
        if not started and ray.get(work.coordinator.stopping.remote(index)):
            outcome = {"stopped": True}  # the workers still wait for free resources
            break
        time.sleep(_POLL_INTERVAL_S)
    yield outcome | {"done": True}


def _run_workers(index: int, work: Work, outcome: Report) -> None:
    """Run the workers to their end; add `died` to `outcome` if they fail."""
    resources, trial = work.resources, work.trials[index]
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        with tempfile.TemporaryDirectory() as folder:  # trials resume from their own checkpoints, not Ray's
            TorchTrainer(
                partial(train_as_worker, index, work),
                scaling_config=ray_train.ScalingConfig(
                    num_workers=resources.workers,
                    use_gpu=resources.gpus > 0,
                    resources_per_worker=needs(resources),
                ),
                run_config=ray_train.RunConfig(
                    name=trial.name.replace("/", "-"),
                    storage_path=folder,
                    failure_config=ray_train.FailureConfig(
                        max_failures=0, max_preemption_failures=0, controller_failure_limit=0
                    ),
                    logging_config=ray_train.LoggingConfig(log_level="ERROR"),
                    callbacks=[in_worker_main_thread(_record_preemption)],
                ),
            ).fit()
    except Exception as error:
        outcome["died"] = (str(error).strip() or repr(error)).splitlines()[-1]


def _record_preemption() -> None:
    signal.signal(signal.SIGTERM, SignalRecord())


def train_as_worker(index: int, work: Work) -> None:
    """Train as one worker of a Ray Train run; put the reports that matter into the coordinator."""
    context = Context.current()
    for report in training_reports(index, work, context):
        if context.is_main or "hosts" in report or report.get("error"):
            ray.get(work.coordinator.put.remote(index, report))
        if report.get("error"):
            raise RuntimeError(report["error"])  # ends the other workers
