"""A job on the cluster at RAY_ADDRESS: the working tree goes there, its log and its end come back."""

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regproxy.parse import ConfigError

_POLL_S = 1.0


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


def follow(client: Any, job: str, write: Callable[[str], None]) -> bool:
    """Hands on the job's log until it ends; returns whether it succeeded."""

    async def tail() -> None:
        async for text in client.tail_job_logs(job):
            write(text)

    try:
        asyncio.run(tail())
    except (ConnectionError, RuntimeError, OSError) as error:  # the status below is what counts
        write(f"the log ended early ({error})\n")
    while not (status := client.get_job_status(job)).is_terminal():
        time.sleep(_POLL_S)
    if status.value != "SUCCEEDED":
        write(f"{client.get_job_info(job).message}\n")
    return status.value == "SUCCEEDED"
