"""Everything that speaks Ray: trials fanned out by Tune, trainings on several workers by Train.

Only the files cluster*.py import ray, and only inside functions: its environment must be set before.
"""

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from pipelines.cluster.board import Board
from pipelines.cluster.driver import OnEnd, Watch, alive_nodes, growing_search, leaving_nodes, make_watcher
from pipelines.cluster.guard import train_guarded
from pipelines.cluster.ray_storage import clear_ray_storage, ray_storage
from pipelines.cluster.session import is_cluster
from pipelines.cluster.stop_signal import Interrupted, StopRequest
from pipelines.cluster.trial_actor import COORDINATION, Work, trial_actor
from regproxy.config.profile import Resources
from regproxy.errors import ConfigError
from regproxy.runs.trial import Trial

_LOOK_EVERY_S = 0.5  # for a request to stop


def run_trials(
    trials: list[Trial],
    resources: Resources,
    *,
    git_commit: str | None,
    watch: Watch,
    on_end: OnEnd,
    train: Callable[..., str | None] = train_guarded,
) -> None:
    """Trains every trial, as many at a time as the cluster holds; must run inside a `ray_session`.

    Nodes that join later are used. A trial whose process or node dies goes on elsewhere, see `Budget`.

    Args:
        trials: trained in this order; one that fails does not stop the others.
        resources: what each takes. One worker trains in the Tune actor itself, several in a Ray Train run.
        git_commit: noted in the run records.
        watch: called about twice a second with what is on the board.
        on_end: called with a trial's index and None, or the error's text, as each ends.
        train: what one worker of a trial calls.

    Raises:
        ConfigError: one trial needs more than this machine has.
        Interrupted: SIGINT or SIGTERM came, and the trials that ran have written checkpoints.
    """
    import ray
    from ray import tune
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    _check_fits(resources)
    clear_ray_storage(trials[0])  # trials resume from their own checkpoints
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    board = ray.remote(num_cpus=0)(Board).options(scheduling_strategy=here).remote(alive_nodes, leaving_nodes)
    work = Work(trials, resources, git_commit, board, train)
    trainable = tune.with_parameters(trial_actor(), work=work)
    alone = resources.workers == 1
    own = {"CPU": resources.cpus, "GPU": resources.gpus} if alone else COORDINATION
    place = tune.PlacementGroupFactory([{kind: need for kind, need in own.items() if need}])
    request = StopRequest()
    watcher, enough = make_watcher(board, watch, on_end, request)
    waiting = list(range(len(trials)))
    with request.heeded(), contextlib.redirect_stdout(io.StringIO()):  # Tune's tables; `watch` tells all
        while waiting and request.number is None:
            watcher.again = []
            search = None if alone else growing_search(lambda: _capacity(resources))
            tune.Tuner(
                tune.with_resources(trainable, place),
                param_space={"index": tune.grid_search(waiting)},
                tune_config=tune.TuneConfig(reuse_actors=True, search_alg=search),
                run_config=tune.RunConfig(
                    **ray_storage(trials[0]),
                    verbose=0,
                    callbacks=[watcher],
                    stop=enough,
                    checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                    failure_config=tune.FailureConfig(max_failures=-1),
                ),
            ).fit()
            waiting = watcher.again
    if request.number is not None and len(watcher.ended) < len(trials):
        raise Interrupted(request.number)


def map_tasks(function: Callable[[Any], Any], items: Iterable[Any], resources: Resources) -> Iterator[Any]:
    """Yields (item, value, error text or None) as tasks on the cluster end; must run inside `ray_session`.

    Raises:
        ConfigError: one task, which takes what one worker does, needs more than this machine has.
        Interrupted: SIGINT or SIGTERM came.
    """
    import ray

    _check_fits(replace(resources, workers=1))
    task = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus)(function)
    pending = {task.remote(item): item for item in items}
    request = StopRequest()
    with request.heeded():
        while pending and request.number is None:
            for done in ray.wait(list(pending), num_returns=1, timeout=_LOOK_EVERY_S)[0]:
                item = pending.pop(done)
                try:
                    yield item, ray.get(done), None
                except ray.exceptions.RayError as error:
                    yield item, None, str(getattr(error, "cause", None) or error)
    if pending:
        raise Interrupted(request.number)


def _check_fits(resources: Resources) -> None:
    """Raises ConfigError if a trial does not fit on this machine; a cluster may yet get the nodes."""
    if is_cluster() or _capacity(resources) >= 1:
        return
    import ray

    total = ray.cluster_resources()
    asked = " and ".join(f"{need:g} {kind}s" for kind, need in _needs(resources).items())
    has = " and ".join(f"{total.get(kind, 0):g} {kind}s" for kind in _needs(resources))
    raise ConfigError(f"a trial needs {asked} but this machine has {has}; lower workers, cpus or gpus")


def _capacity(resources: Resources) -> int:
    """Returns how many trials to have at once: those that the cluster holds, and where it may grow one more,
    which by waiting asks for the nodes."""
    import ray

    total = ray.cluster_resources()
    holds = min(int(total.get(kind, 0) // need) for kind, need in _needs(resources).items())
    return holds + 1 if is_cluster() else holds


def _needs(resources: Resources) -> dict[str, float]:
    """Returns what a trial takes in all, by Ray's names, without what it does not need."""
    needs = {"CPU": resources.workers * resources.cpus, "GPU": resources.workers * resources.gpus}
    return {kind: need for kind, need in needs.items() if need}
