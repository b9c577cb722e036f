"""Run the pipeline as a job on the cluster at RAY_ADDRESS and download results/ and reports/.

python -m pipelines.cluster.job
"""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import yaml

from pipelines.cluster.environment import set_job_environment
from regproxy.errors import ConfigError, UserError
from regproxy.runs.record import git_commit
from regproxy.runs.shared_storage import SharedStorage
from regproxy.storage.folders import download_folder

LIMIT_BYTES = 100 * 2**20  # Ray's dashboard refuses larger packages, but only after the upload
_PASSED_VARIABLES = re.compile("AWS_|MLFLOW_TRACKING_|REGPROXY_(STORAGE|CACHE)$")
_POLL_INTERVAL_S, _MAX_BACKOFF_S = 1.0, 30.0


def job() -> int:
    """Submit the job, print its log and download its results; return its exit status.

    Raises:
        ConfigError: no cluster or storage is set, the working tree is too large, or the cluster refuses it.
    """
    shared, address, tree = SharedStorage.from_environment(), os.environ.get("RAY_ADDRESS"), Path.cwd()
    if not address:
        raise ConfigError("RAY_ADDRESS is not set, give the cluster's dashboard, such as http://head:8265")
    if shared is None:
        raise ConfigError(
            "REGPROXY_STORAGE is not set: a job leaves its files on the cluster; give a URL that the cluster "
            "and this machine both reach, such as s3://bucket/folder"
        )
    check_size(tree)
    set_job_environment()
    from ray.job_submission import JobSubmissionClient

    try:
        client = JobSubmissionClient(address)
        environment = {"working_dir": str(tree), "env_vars": job_variables(os.environ)}
        name = client.submit_job(entrypoint="make cluster-repro", runtime_env=environment)
    except (ConnectionError, RuntimeError, ValueError) as error:
        line = str(error).strip().splitlines()[0]
        raise ConfigError(
            f"the cluster at RAY_ADDRESS={address} refused the job ({line}); give its dashboard, such as "
            f"http://head:8265, and RAY_AUTH_TOKEN if it asks for one"
        ) from None
    print(f"job {name}", flush=True)
    try:
        status = follow(client, name)
    except KeyboardInterrupt:
        print(
            f"\nthe job continues on the cluster\n  show its log: ray job logs --follow {name}\n"
            f"  stop it:   ray job stop {name}\n"
            f"run `make job` again after its end to download what it finished",
            file=sys.stderr,
        )
        return 130
    for profile in yaml.safe_load((tree / "params.yaml").read_text())["profiles"]:
        for folder in (f"results/{profile}", f"reports/{profile}"):
            files = download_folder(shared.storage / folder, tree / folder)
            print(f"{len(files)} files downloaded to {folder}/")
        print(f"the weights are at {shared.storage.url}/runs/{profile}; get them: regproxy fetch {profile}")
    return status


def job_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the job's environment variables: this shell's credentials and places, this checkout's commit."""
    passed = {name: value for name, value in environment.items() if _PASSED_VARIABLES.match(name)}
    commit = git_commit()
    return passed | ({"REGPROXY_GIT_COMMIT": commit} if commit else {})


def check_size(tree: Path, limit: int = LIMIT_BYTES) -> int:
    """Return the bytes of the files that Ray sends, all but .git and what .gitignore files name.

    Raises:
        ConfigError: they are more than `limit`; names the largest files.
    """
    with TemporaryDirectory() as repository:  # without an index, so git reads .gitignore files as Ray does
        git = ["git", f"--git-dir={repository}", f"--work-tree={tree}"]
        listing = ["ls-files", "--others", "--exclude-per-directory=.gitignore", "-z"]
        subprocess.run([*git, "init", "--quiet"], check=True)
        output = subprocess.run([*git, *listing], cwd=tree, check=True, capture_output=True, text=True).stdout
    files = [name for name in output.split("\0") if (tree / name).is_file()]
    sizes = {name: (tree / name).stat().st_size for name in files}
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=sizes.get, reverse=True)[:5]
        names = ", ".join(f"{name} ({sizes[name] / 2**20:.1f} MiB)" for name in largest)
        raise ConfigError(
            f"the working tree has {total / 2**20:.1f} MiB, a job takes {limit / 2**20:.0f} MiB; move the "
            f"largest files elsewhere or list them in .gitignore: {names}"
        )
    return total


def follow(client: Any, job: str, *, timeout_s: float = 900.0) -> int:
    """Print the job's log until it ends; return its exit status, 1 if it ended without one.

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
            print(new, end="", flush=True)
            num_shown += len(new)

    while True:
        try:
            asyncio.run(tail())
            info = client.get_job_info(job)
            lost_since, pause = None, _POLL_INTERVAL_S
            if info.status.is_terminal():
                break
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since >= timeout_s:
                raise ConfigError(
                    f"the cluster has not answered for {timeout_s / 60:.0f} minutes ({error}), job {job} "
                    f"may still be running: follow it with `ray job logs --follow {job}`"
                ) from None
            print(f"no connection to the cluster ({error}), retrying", file=sys.stderr, flush=True)
        time.sleep(pause)
        pause = min(2 * pause, _MAX_BACKOFF_S) if lost_since else pause
    if info.status.value == "SUCCEEDED":
        return 0
    print(info.message, flush=True)
    return info.driver_exit_code or 1


def main() -> int:
    try:
        return job()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
