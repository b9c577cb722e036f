"""A job on the cluster at RAY_ADDRESS: the working tree goes there, its log and its end come back."""

import asyncio
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regproxy.errors import ConfigError

_POLL_S = 1.0
_PATIENCE_S = 900.0  # with a cluster that does not answer


def submit(command: str, *, tree: Path, excludes: list[str], variables: dict[str, str]) -> tuple[Any, str]:
    """Submits a command with a copy of the tree; returns the client and the job's name.

    Raises:
        ConfigError: the cluster cannot be reached or refuses the job.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token" if "RAY_AUTH_TOKEN" in os.environ else "disabled")
    from ray.job_submission import JobSubmissionClient

    address = os.environ["RAY_ADDRESS"]
    runtime_env = {"working_dir": str(tree), "excludes": excludes, "env_vars": variables}
    try:
        client = JobSubmissionClient(address)
        return client, client.submit_job(entrypoint=command, runtime_env=runtime_env)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the cluster at RAY_ADDRESS={address} took no job ({line}); give its dashboard, such as "
            f"http://head:8265, and RAY_AUTH_TOKEN if it asks for one"
        ) from None


def follow(client: Any, job: str, write: Callable[[str], None], *, patience_s: float = _PATIENCE_S) -> int:
    """Hands on the job's log until it ends; returns its exit status, 1 for a job that ended without one.

    A lost connection is made again, and the log goes on where it was.

    Raises:
        ConfigError: the cluster has not answered for `patience_s`; the job may go on.
    """
    import aiohttp

    shown, lost_since, pause = 0, None, _POLL_S

    async def tail() -> None:
        nonlocal shown, lost_since, pause
        skip = shown
        async for text in client.tail_job_logs(job):  # from its beginning
            lost_since, pause = None, _POLL_S
            new, skip = text[skip:], max(skip - len(text), 0)
            if new:
                write(new)
                shown += len(new)

    while True:
        try:
            asyncio.run(tail())
            info = client.get_job_info(job)
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since >= patience_s:
                raise ConfigError(
                    f"the cluster has not answered for {patience_s / 60:.0f} minutes ({error}), job {job} "
                    f"may go on: follow it with `ray job logs --follow {job}`"
                ) from None
            print(f"no connection to the cluster ({error}), trying again", file=sys.stderr, flush=True)
            time.sleep(pause)
            pause = min(2 * pause, 30.0)
            continue
        lost_since, pause = None, _POLL_S
        if info.status.is_terminal():
            break
        time.sleep(_POLL_S)
    if info.status.value == "SUCCEEDED":
        return 0
    write(f"{info.message}\n")
    return info.driver_exit_code or 1
