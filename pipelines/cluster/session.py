"""Coming to a cluster and leaving it: the one at RAY_ADDRESS, or one of this machine alone."""

import contextlib
import gc
import logging
import os
import socket
from collections.abc import Iterator

from regproxy.errors import ConfigError

_ANSWER_S = 10.0  # of a cluster, before Ray's own patience of minutes


@contextlib.contextmanager
def ray_session() -> Iterator[None]:
    """Joins the cluster at RAY_ADDRESS, or starts Ray on this machine, and leaves it at the end.

    Raises:
        ConfigError: nobody answers at RAY_ADDRESS.
    """
    quiet = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DEDUP_LOGS_SKIP_REGEX": "State API may be temporarily|Reporting training result",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_TRAIN_METRICS_ENABLED": "0",
        "TUNE_DISABLE_SIGINT_HANDLER": "1",
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    }
    alone = not is_cluster()
    if not alone:
        _check_answers(os.environ["RAY_ADDRESS"])
    if alone:  # nobody else can reach it, nothing will be pre-empted, and polling often costs nothing
        quiet |= {
            "RAY_AUTH_MODE": "disabled",
            "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
        }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    import ray

    local = {
        "address": "local",
        "num_cpus": os.cpu_count(),
        "object_store_memory": 200 * 2**20,
        "include_dashboard": False,
    }
    ray.init(logging_level="ERROR", log_to_driver=False, **(local if alone else {}))
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # what became of each trial we tell ourselves
    try:
        yield
    finally:
        # Ray ends the process, with status 1, if a reference of its own is freed while it shuts down. A
        # thread that allocates, such as the mirror's, may collect cycles that hold one: before, not during.
        collecting = gc.isenabled()
        gc.disable()
        gc.collect()
        try:
            ray.shutdown()
        finally:
            if collecting:
                gc.enable()


def is_cluster() -> bool:
    """Whether RAY_ADDRESS names a cluster, whose nodes come and go."""
    return bool(os.environ.get("RAY_ADDRESS"))


def _check_answers(address: str) -> None:
    """Raises ConfigError if nobody listens at a cluster's address; names such as `auto` are left to Ray."""
    if address.startswith("http"):
        raise ConfigError(
            f"RAY_ADDRESS={address} is a dashboard, which `make job` takes; give the head's own address, "
            f"such as head:6379"
        )
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise ConfigError(
            f"no cluster answers at RAY_ADDRESS={address} ({error}); start one there, or unset it to use "
            f"this machine alone"
        ) from None
