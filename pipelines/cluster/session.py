"""Connect to the cluster at RAY_ADDRESS, or start Ray on this machine; what the cluster has room for."""

import contextlib
import gc
import logging
import os
import socket
from collections.abc import Iterator

import ray

from pipelines.cluster.environment import is_cluster, set_ray_environment
from regproxy.config.profile import Resources
from regproxy.errors import ConfigError

_CONNECT_TIMEOUT_S = 10.0  # Ray's own timeout is minutes


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Connect to the cluster at RAY_ADDRESS, or start Ray on this machine; disconnect or stop it at the end.

    Raises:
        ConfigError: no cluster answers at RAY_ADDRESS.
    """
    set_ray_environment()  # for callers that have imported ray already
    local = {}
    if is_cluster():
        _check_address(os.environ["RAY_ADDRESS"])
    else:
        local = {
            "address": "local",
            "num_cpus": os.cpu_count(),
            "object_store_memory": 200 * 2**20,
            "include_dashboard": False,
        }
    ray.init(logging_level="ERROR", log_to_driver=False, **local)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the display reports the end of each trial
    try:
        yield
    finally:
        # If one of Ray's references is freed while it shuts down, Ray ends the process with status 1. Another
        # thread may trigger the garbage collector at any time, so collect before and not during the shutdown.
        gc.disable()
        gc.collect()
        ray.shutdown()
        gc.enable()


def _check_address(address: str) -> None:
    """Raise ConfigError if no process listens at an address; Ray itself resolves names like `auto`."""
    if address.startswith("http"):
        raise ConfigError(
            f"RAY_ADDRESS={address} is a dashboard, which `make job` takes; give the head's own address, "
            f"such as head:6379"
        )
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise ConfigError(
            f"no cluster answers at RAY_ADDRESS={address} ({error}); start one there, or unset it to use "
            f"this machine alone"
        ) from None


def check_fits(resources: Resources) -> None:
    """Raise ConfigError if a trial does not fit on this machine; a cluster may still get more nodes."""
    if is_cluster() or capacity(resources) >= 1:
        return
    total, asked = ray.cluster_resources(), needs(resources, resources.workers)
    has = " and ".join(f"{total.get(kind, 0):g} {kind}s" for kind in asked)
    wanted = " and ".join(f"{need:g} {kind}s" for kind, need in asked.items())
    raise ConfigError(f"a trial needs {wanted} but this machine has {has}; lower workers, cpus or gpus")


def capacity(resources: Resources) -> int:
    """Return how many trials may run at once; on a cluster one more than fit, so that it asks for nodes."""
    total = ray.cluster_resources()
    asked = needs(resources, resources.workers)
    holds = min(int(total.get(kind, 0) // need) for kind, need in asked.items())
    return holds + 1 if is_cluster() else holds


def needs(resources: Resources, workers: int = 1) -> dict[str, float]:
    """Return the resources of some workers of a trial under Ray's names; none is zero."""
    wanted = {"CPU": workers * resources.cpus, "GPU": workers * resources.gpus}
    return {kind: need for kind, need in wanted.items() if need}
