"""One trial on the cluster: in the Tune actor itself, or on several workers of a Ray Train run."""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from pipelines.cluster.ray_storage import ray_storage
from pipelines.cluster.stop_signal import Notice, installed_notice
from regproxy.config.profile import Resources
from regproxy.runs.trial import Trial
from regproxy.train.stop import Stopped

# What the actor of a trial takes that only waits for its workers: a place on the cluster's head. There it
# outlives all other nodes, as do Ray Train's own actors, which stay with it; were they lost with a node, the
# places of their workers on other nodes would stay taken until the grid ends.
COORDINATION = {"node:__internal_head__": 0.001}

_RESTARTS = 20  # of workers by Ray Train alone; beyond, Tune starts from its own actor on


@dataclass(frozen=True)
class Work:
    """What all trials of a grid share; `train` is called as `train_guarded` is."""

    trials: list[Trial]
    resources: Resources
    git_commit: str | None
    board: Any
    train: Callable[..., str | None]


def trial_actor() -> type:
    """Returns Tune's trainable. It is a class because its `step` runs in the main thread, as signals do."""
    from ray import tune

    class TrialActor(tune.Trainable):
        def setup(self, config: dict, *, work: Work) -> None:
            self.work = work

        def reset_config(self, new_config: dict) -> bool:
            return True  # nothing is kept from one trial to the next

        def step(self) -> dict:
            index, work = self.config["index"], self.work
            run = _train_here if work.resources.workers == 1 else _train_on_workers
            return {"done": True, **run(work.trials[index], index, work)}

    return TrialActor


def _train_here(trial: Trial, index: int, work: Work) -> dict:
    """Trains in this process; returns the error, None if it went well, and whether the grid has stopped it.

    Raises:
        Stopped: a signal asked this process to end; Tune takes the trial up again.
    """
    import ray

    stopping, refused = ray.get(work.board.start.remote(index))
    if stopping or refused:
        return {"error": refused, "stopped": stopping}
    with Notice().heeded() as notice:
        return _train(trial, index, work, notice)


def _train_on_workers(trial: Trial, index: int, work: Work) -> dict:
    """Does the same by a Ray Train run, which itself takes up again what a death or a signal has ended."""
    # The environment of the process that calls `fit` counts, which on a cluster is not the driver's. Workers
    # wait for their places as long as it takes; one that died is missed within a second.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(24 * 3600))
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    import ray
    from ray import train as ray_train
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.execution.callback import WorkerCallback

    class HeedSigterm(WorkerCallback):
        def after_init_train_context(self) -> None:  # in the worker's main thread, training in another
            Notice().install()

    resources, board = work.resources, work.board
    per_worker = {"CPU": resources.cpus}
    if resources.gpus:
        per_worker["GPU"] = resources.gpus
    trainer = TorchTrainer(
        partial(_train_as_worker, trial, index, work),
        scaling_config=ray_train.ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        run_config=ray_train.RunConfig(
            name=f"{trial.variant.data.name}-{trial.variant.name}-{trial.seed}-{trial.fingerprint[:12]}",
            **ray_storage(trial),
            failure_config=ray_train.FailureConfig(max_failures=_RESTARTS, controller_failure_limit=2),
            logging_config=ray_train.LoggingConfig(log_level="ERROR"),
            callbacks=[HeedSigterm()],
        ),
    )
    before = ray.get(board.starts.remote(index))
    try:
        return trainer.fit().return_value
    except ray_train.TrainingFailedError as error:
        text = str(error).strip().splitlines()[-1]
        if ray.get(board.starts.remote(index)) == before:  # it does not even come to a start
            return {"error": text, "stopped": False}
        raise RuntimeError(text) from None


def _train_as_worker(trial: Trial, index: int, work: Work) -> dict:
    import ray
    from torch import distributed

    verdict = [ray.get(work.board.start.remote(index)) if distributed.get_rank() == 0 else None]
    distributed.broadcast_object_list(verdict)  # what one worker is told all are
    stopping, refused = verdict[0]
    if stopping or refused:
        return {"error": refused, "stopped": stopping}
    try:
        return _train(trial, index, work, installed_notice())
    except Stopped:
        raise
    except Exception as error:
        ray.get(work.board.fail.remote(index, f"{type(error).__name__}: {error}"))
        raise


def _train(trial: Trial, index: int, work: Work, notice: Notice) -> dict:
    """Trains as one process of a trial. Raises Stopped for a notice: the trial is then taken up again."""
    import ray

    board, node = work.board, ray.get_runtime_context().get_node_id()
    board.join.remote(index, socket.gethostname(), node)
    hooks = {
        "report": partial(board.pin.remote, index),
        "note": partial(board.note.remote, index),
        "begin": partial(board.begin.remote, index),
        "stopping": notice.given,
    }
    try:
        with notice.watching(lambda: ray.get(board.told.remote(node))):
            return {"error": work.train(trial, git_commit=work.git_commit, **hooks), "stopped": False}
    except Stopped as stop:
        if ray.get(board.stopping.remote()):
            return {"error": None, "stopped": True}
        if notice.reason == "signal":
            board.note.remote(index, f"was told that its process or node ends; {stop}")
            ray.get(board.give_way.remote(index))
        raise
