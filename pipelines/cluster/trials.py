"""Train trials, and run other independent tasks, on a Ray cluster: as many at a time as it holds."""

import contextlib
import io
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import ray
from ray import tune
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipelines.cluster.coordinator import Coordinator
from pipelines.cluster.display import Observer
from pipelines.cluster.retry import RetryPolicy
from pipelines.cluster.search_trials import EarlyStopping
from pipelines.cluster.session import capacity, check_fits, needs
from pipelines.cluster.stop_signal import Interrupted, driver_signals
from pipelines.cluster.trial_actor import TrialActor, Work
from pipelines.cluster.trial_queue import StopOnRequest, TrialQueue
from pipelines.cluster.worker_group import WorkerGroupActor
from regproxy.config.profile import Resources
from regproxy.errors import UserError
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.progress import Training
from regproxy.train.remote import train_anywhere

_SIGNAL_POLL_INTERVAL_S = 0.5

# The actor of a trial with several workers only waits for them. It runs on the cluster's head, which
# outlives the other nodes, and so do Ray Train's own actors, which run beside it.
_HEAD_ONLY = {"node:__internal_head__": 0.001}


def run_trials(
    trials: list[Trial],
    resources: Resources,
    *,
    observer: Observer,
    train: Callable[[Trial, Context], Training] = train_anywhere,
    values: Callable[[int], dict[str, Any]] | None = None,
    early_stopping: EarlyStopping | None = None,
) -> None:
    """Train every trial, as many at a time as the cluster holds; call inside a `ray_session`.

    Nodes that join later are used. `RetryPolicy` decides about restarts. A failed trial does not stop the
    others.

    Args:
        trials: they start roughly in this order.
        resources: of each trial. One worker trains in the Tune actor itself, several in a Ray Train run.
        observer: receives the progress and the end of each trial.
        train: the training that each worker runs.
        values: for a search, returns the settings of a trial that differ from its variant, when it starts.
        early_stopping: stops trials of a search; they count as ended without an error.

    Raises:
        ConfigError: one trial needs more than this machine has.
        Interrupted: SIGINT or SIGTERM came; running trials had a minute to save checkpoints.
    """
    check_fits(resources)
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    coordinator = ray.remote(num_cpus=0)(Coordinator).options(scheduling_strategy=here).remote()
    actor, bundle, limit = TrialActor, needs(resources), lambda: float("inf")  # Tune itself schedules these
    if resources.workers > 1:  # Tune does not know the workers, so they are counted
        actor, bundle, limit = WorkerGroupActor, _HEAD_ONLY, lambda: capacity(resources)
    trainable = tune.with_parameters(actor, work=Work(trials, resources, coordinator, train))
    queue = TrialQueue(len(trials), RetryPolicy(alive_nodes), limit, observer, values)
    if early_stopping:
        early_stopping.connect(queue, coordinator)
    with (
        driver_signals() as signals,
        tempfile.TemporaryDirectory() as ray_files,  # not needed later: trials have their own checkpoints
        contextlib.redirect_stdout(io.StringIO()),  # hides Tune's tables
    ):
        tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([bundle])),
            tune_config=tune.TuneConfig(
                reuse_actors=True, search_alg=queue, scheduler=early_stopping, num_samples=-1
            ),
            run_config=tune.RunConfig(
                storage_path=ray_files,
                verbose=0,
                stop=StopOnRequest(signals, queue, coordinator),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=tune.FailureConfig(max_failures=0),
            ),
        ).fit()
    if signals.number is not None and queue.num_ended < len(trials):
        raise Interrupted(signals.number)


def alive_nodes() -> set[str]:
    """Return Ray's ids of the nodes that are alive."""
    return {node["NodeID"] for node in ray.nodes() if node["Alive"]}


def map_tasks(function: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Any]:
    """Yield (item, value, error text or None) as tasks end; call inside a `ray_session`.

    Each task takes the CPUs and GPUs of one worker. The text of a UserError is its message; the text of any
    other error is its traceback.

    Raises:
        ConfigError: one task needs more than this machine has.
        Interrupted: SIGINT or SIGTERM came.
    """
    check_fits(replace(resources, workers=1))
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(function)
    pending = {task.remote(item): item for item in items}
    with driver_signals() as signals:
        while pending and signals.number is None:
            for done in ray.wait(list(pending), num_returns=1, timeout=_SIGNAL_POLL_INTERVAL_S)[0]:
                item = pending.pop(done)
                try:
                    yield item, ray.get(done), None
                except ray.exceptions.RayError as error:
                    cause = getattr(error, "cause", None)
                    yield item, None, str(cause if isinstance(cause, UserError) else error)
    if pending:
        raise Interrupted(signals.number)
