"""Everything that speaks Ray: trials fanned out by Tune, trainings on several workers by Train.

The only file that imports ray, and only inside functions: its environment must be set before the import.
"""

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from pipelines.cluster_storage import clear_ray_storage, ray_storage
from pipelines.guard import train_guarded
from regproxy.parse import ConfigError
from regproxy.profile import Resources
from regproxy.train.context import Progress
from regproxy.train.trial import Trial

Watch = Callable[[dict[int, Progress], list[tuple[int, str]]], None]

_PROCESS_RETRIES = 2  # how often a trial whose process died (not one that raised) is taken up again

# What the actor of a trial takes while it waits for its workers. They leave it that much of their own, so
# that trials fill the cluster to the brim and none waits for ever for a hundredth of a CPU.
_COORDINATION_CPU = 0.01


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Joins the cluster at RAY_ADDRESS, or starts Ray on this machine, and leaves it at the end."""
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS_SKIP_REGEX": "State API may be temporarily|Reporting training result",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_TRAIN_METRICS_ENABLED": "0",
    }
    alone = "RAY_ADDRESS" not in os.environ
    if alone:  # nobody else can reach it, nothing will be pre-empted, and polling often costs nothing
        quiet |= {
            "RAY_AUTH_MODE": "disabled",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    import ray

    local = {"num_cpus": os.cpu_count(), "object_store_memory": 200 * 2**20, "include_dashboard": False}
    ray.init(logging_level="ERROR", log_to_driver=False, **(local if alone else {}))
    try:
        yield
    finally:
        ray.shutdown()


def run_trials(
    trials: list[Trial],
    resources: Resources,
    *,
    git_commit: str | None,
    watch: Watch,
    on_end: Callable[[int, str | None], None],
) -> None:
    """Trains every trial, as many at a time as the cluster holds; must run inside `ray_session`.

    Args:
        trials: trained in this order; one that fails does not stop the others.
        resources: what each takes. One worker trains in the Tune actor itself, several in a Ray Train run.
        git_commit: noted in the run records.
        watch: called about once a second with the newest progress by index of trial, and new notes.
        on_end: called with a trial's index and None, or the error's text, as each ends.

    Raises:
        ConfigError: one trial needs more than the whole cluster has.
    """
    import ray
    from ray import tune

    at_once = _capacity(resources)
    clear_ray_storage(trials[0])  # trials resume from their own checkpoints
    board = ray.remote(num_cpus=0)(_Board).remote()
    run_one = _train_here if resources.workers == 1 else _train_on_workers
    trainable = tune.with_parameters(
        run_one, trials=trials, resources=resources, git_commit=git_commit, board=board
    )
    alone = {"cpu": resources.cpus, "gpu": resources.gpus}
    own = alone if resources.workers == 1 else {"cpu": _COORDINATION_CPU}
    tuner = tune.Tuner(
        tune.with_resources(trainable, own),
        param_space={"index": tune.grid_search(list(range(len(trials))))},
        tune_config=tune.TuneConfig(reuse_actors=True, max_concurrent_trials=at_once),
        run_config=tune.RunConfig(
            **ray_storage(trials[0]),
            verbose=0,
            callbacks=[_watcher(board, watch, on_end)],
            failure_config=tune.FailureConfig(max_failures=_PROCESS_RETRIES),
        ),
    )
    with contextlib.redirect_stdout(io.StringIO()):  # Tune's own tables; `watch` and `on_end` tell all
        tuner.fit()


def map_tasks(function: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Any]:
    """Yields (item, value, error text or None) as tasks on the cluster end; must run inside `ray_session`."""
    import ray

    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(function)
    pending = {task.remote(item): item for item in items}
    while pending:
        (done,), _ = ray.wait(list(pending), num_returns=1)
        item = pending.pop(done)
        try:
            yield item, ray.get(done), None
        except ray.exceptions.RayError as error:
            yield item, None, str(getattr(error, "cause", None) or error)


def _watcher(board: Any, watch: Watch, on_end: Callable[[int, str | None], None]) -> Any:
    """Returns the Tune callback that hands on progress and ends."""
    import ray
    from ray import tune

    class Watcher(tune.Callback):
        def __init__(self, board: Any, watch: Callable, on_end: Callable) -> None:
            self.board, self.watch, self.on_end = board, watch, on_end
            self.ended: set[int] = set()

        def __getstate__(self) -> dict:
            return {}  # Tune pickles its callbacks with the experiment, which is never restored

        def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
            self.watch(*ray.get(self.board.take.remote()))

        def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._end(trial, (trial.last_result or {}).get("error"))

        def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
            self._end(trial, f"its process died more than {_PROCESS_RETRIES} times, see Ray's logs")

        def _end(self, trial: Any, error: str | None) -> None:
            index = trial.config["index"]
            if index not in self.ended:
                self.ended.add(index)
                self.on_end(index, error)

    return Watcher(board, watch, on_end)


class _Board:
    """An actor on which trials pin progress and notes, so that no training waits to be heard."""

    def __init__(self) -> None:
        self._newest: dict[int, Progress] = {}
        self._notes: list[tuple[int, str]] = []

    def pin(self, index: int, progress: Progress) -> None:
        self._newest[index] = progress

    def note(self, index: int, text: str) -> None:
        self._notes.append((index, text))

    def take(self) -> tuple[dict[int, Progress], list[tuple[int, str]]]:
        """Returns the newest progress of every trial, and the notes since the last call."""
        notes, self._notes = self._notes, []
        return self._newest, notes


def _train_here(
    config: dict, *, trials: list[Trial], resources: Resources, git_commit: str | None, board: Any
) -> dict:
    trial = trials[config["index"]]
    return {"error": train_guarded(trial, *_voice(board, config["index"]), git_commit=git_commit)}


def _train_on_workers(
    config: dict, *, trials: list[Trial], resources: Resources, git_commit: str | None, board: Any
) -> dict:
    from ray import train as ray_train
    from ray.train.torch import TorchTrainer

    trial, index = trials[config["index"]], config["index"]

    def worker() -> str | None:
        return train_guarded(trial, *_voice(board, index), git_commit=git_commit)

    per_worker = {"CPU": resources.cpus - _COORDINATION_CPU}
    if resources.gpus:
        per_worker["GPU"] = resources.gpus
    trainer = TorchTrainer(
        worker,
        scaling_config=ray_train.ScalingConfig(
            num_workers=resources.workers, use_gpu=resources.gpus > 0, resources_per_worker=per_worker
        ),
        run_config=ray_train.RunConfig(
            name=f"{trial.cell.data.name}-{trial.cell.name}-{trial.seed}-{trial.identity[:12]}",
            **ray_storage(trial),
            failure_config=ray_train.FailureConfig(max_failures=_PROCESS_RETRIES, controller_failure_limit=2),
            logging_config=ray_train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        return {"error": trainer.fit().return_value}
    except ray_train.TrainingFailedError as error:
        return {"error": str(error).strip().splitlines()[-1]}


def _voice(board: Any, index: int) -> tuple[Callable[[Progress], None], Callable[[str], None]]:
    """Returns how a trial reports its progress and its notes; neither waits for an answer."""
    return partial(board.pin.remote, index), partial(board.note.remote, index)


def _capacity(resources: Resources) -> int:
    """Returns how many trials the cluster holds at once; more would wait for each other for ever."""
    import ray

    total = ray.cluster_resources()
    needs = {"CPU": resources.workers * resources.cpus, "GPU": resources.workers * resources.gpus}
    fits = [int(total.get(kind, 0) // need) for kind, need in needs.items() if need]
    if min(fits) < 1:
        asked = " and ".join(f"{need:g} {kind}s" for kind, need in needs.items() if need)
        has = " and ".join(f"{total.get(kind, 0):g} {kind}s" for kind, need in needs.items() if need)
        raise ConfigError(
            f"a trial needs {asked} but the cluster has {has}; lower workers, cpus or gpus in the profile"
        )
    return min(fits)
