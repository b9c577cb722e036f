"""Submit a job to the cluster at RAY_ADDRESS, and follow its log to its end."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
from ray.job_submission import JobSubmissionClient

from regproxy.errors import ConfigError

_POLL_INTERVAL_S = 1.0
_MAX_BACKOFF_S = 30.0
_CONNECTION_TIMEOUT_S = 900.0


def submit(command: str, *, tree: Path, excludes: list[str], variables: dict[str, str]) -> tuple[Any, str]:
    """Submit a command with a copy of the working tree; return the client and the job's name.

    Raises:
        ConfigError: the cluster cannot be reached or refuses the job.
    """
    address = os.environ["RAY_ADDRESS"]
    runtime_env = {"working_dir": str(tree), "excludes": excludes, "env_vars": variables}
    try:
        client = JobSubmissionClient(address)
        return client, client.submit_job(entrypoint=command, runtime_env=runtime_env)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the cluster at RAY_ADDRESS={address} refused the job ({line}); give its dashboard, such as "
            f"http://head:8265, and RAY_AUTH_TOKEN if it asks for one"
        ) from None


def follow(
    client: Any, job: str, write: Callable[[str], None], *, timeout_s: float = _CONNECTION_TIMEOUT_S
) -> int:
    """Write the job's log until it ends; return its exit status, 1 if it ended without one.

    A lost connection is retried, and the log continues where it was.

    Raises:
        ConfigError: the cluster has not answered for `timeout_s`; the job may continue.
    """
    num_shown, lost_since, pause = 0, None, _POLL_INTERVAL_S  # num_shown: characters of the log

    async def tail() -> None:
        nonlocal num_shown, lost_since, pause
        skip = num_shown
        async for text in client.tail_job_logs(job):  # starts at the beginning of the log
            lost_since, pause = None, _POLL_INTERVAL_S
            new, skip = text[skip:], max(skip - len(text), 0)
            if new:
                write(new)
                num_shown += len(new)

    while True:
        try:
            asyncio.run(tail())
            info = client.get_job_info(job)
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since >= timeout_s:
                raise ConfigError(
                    f"the cluster has not answered for {timeout_s / 60:.0f} minutes ({error}), job {job} "
                    f"may still be running: follow it with `ray job logs --follow {job}`"
                ) from None
            print(f"no connection to the cluster ({error}), retrying", file=sys.stderr, flush=True)
            time.sleep(pause)
            pause = min(2 * pause, _MAX_BACKOFF_S)
            continue
        lost_since, pause = None, _POLL_INTERVAL_S
        if info.status.is_terminal():
            break
        time.sleep(_POLL_INTERVAL_S)
    if info.status.value == "SUCCEEDED":
        return 0
    write(f"{info.message}\n")
    return info.driver_exit_code or 1
