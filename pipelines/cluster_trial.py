"""One trial on the cluster: in the Tune actor itself, or on several workers of a Ray Train run."""

import os
import socket
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipelines.notice import Notice, installed_notice
from regproxy.profile import Resources
from regproxy.train.stop import Stopped
from regproxy.train.trial import Trial

# What the actor of a trial takes while it waits for its workers, and what each worker leaves free of its own
# CPUs: a hundred such actors on one node take no worker's place, so that none can wait for ever.
COORDINATION_CPU = 0.0001
_LEFT_FREE_CPU = 0.01


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
            return {"done": True, **_attend(self.config["index"], self.work)}

    return TrialActor


def _attend(index: int, work: Work) -> dict:
    """Trains a trial; returns its error, None if it went well, and whether the grid has stopped it.

    Raises:
        Stopped: a signal asked this process to end; the trial goes on wherever Tune puts it.
    """
    import ray

    board, trial = work.board, work.trials[index]
    if not ray.get(board.start.remote(index)):
        return {"error": None, "stopped": True}
    run = _train_here if work.resources.workers == 1 else _train_on_workers
    try:
        return {"error": run(trial, index, work), "stopped": False}
    except Stopped as stop:
        if ray.get(board.stopping.remote()):
            return {"error": None, "stopped": True}
        board.note.remote(index, f"was told to end by a signal; {stop}")
        ray.get(board.give_way.remote(index))
        raise


def _train_here(trial: Trial, index: int, work: Work) -> str | None:
    notice = Notice()
    _join(work, index)
    with notice.heeded(), notice.watching(_grid_stops(work)):
        return work.train(trial, git_commit=work.git_commit, **_hooks(work, index, notice))


def _train_on_workers(trial: Trial, index: int, work: Work) -> str | None:
    # Workers wait for their places as long as it takes. It is the process that calls `fit` whose environment
    # counts, which on a cluster is not the driver's.
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", str(24 * 3600))
    os.environ.setdefault("RAY_TRAIN_METRICS_ENABLED", "0")
    from ray import train as ray_train
    from ray.train.torch import TorchTrainer
    from ray.train.v2._internal.execution.callback import WorkerCallback

    class HeedSigterm(WorkerCallback):
        def after_init_train_context(self) -> None:  # in the worker's main thread, training in another
            Notice().heeded().__enter__()

    resources = work.resources
    per_worker = {"CPU": resources.cpus - _LEFT_FREE_CPU}
    if resources.gpus:
        per_worker["GPU"] = resources.gpus
    trainer = TorchTrainer(
        partial(_train_as_worker, trial, index, work),
        scaling_config=ray_train.ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        run_config=ray_train.RunConfig(
            name=f"{trial.cell.data.name}-{trial.cell.name}-{trial.seed}-{trial.identity[:12]}",
            storage_path=str(ray_storage(trial)),
            failure_config=ray_train.FailureConfig(max_failures=0, controller_failure_limit=2),
            logging_config=ray_train.LoggingConfig(log_level="ERROR"),
            callbacks=[HeedSigterm()],
        ),
    )
    try:
        outcome = trainer.fit().return_value
    except ray_train.TrainingFailedError as error:  # Tune repeats it, as it does when this process dies
        text = str(error).strip().splitlines()[-1]
        work.board.fail.remote(index, text)
        raise RuntimeError(text) from None
    if outcome["stopped_after"] is not None:
        raise Stopped(outcome["stopped_after"])
    return outcome["error"]


def _train_as_worker(trial: Trial, index: int, work: Work) -> dict:
    from torch import distributed

    notice = installed_notice()
    _join(work, index)
    watching = notice.watching(_grid_stops(work)) if distributed.get_rank() == 0 else nullcontext()
    try:
        with watching:
            error = work.train(trial, git_commit=work.git_commit, **_hooks(work, index, notice))
            return {"error": error, "stopped_after": None}
    except Stopped as stop:
        return {"error": None, "stopped_after": stop.step}


def _join(work: Work, index: int) -> None:
    import ray

    work.board.join.remote(index, socket.gethostname(), ray.get_runtime_context().get_node_id())


def _hooks(work: Work, index: int, notice: Notice) -> dict[str, Callable]:
    """Returns the hooks of a training's context; none of them waits for an answer."""
    return {
        "report": partial(work.board.pin.remote, index),
        "note": partial(work.board.note.remote, index),
        "begin": partial(work.board.begin.remote, index),
        "stopping": notice.given,
    }


def _grid_stops(work: Work) -> Callable[[], bool]:
    import ray

    return lambda: ray.get(work.board.stopping.remote())


def ray_storage(trial: Trial) -> Path:
    """Where Ray keeps its own book-keeping, which nobody needs once the trials have ended."""
    return Path(".ray").absolute() / trial.profile
