"""Runs the pipeline as a job on the cluster at RAY_ADDRESS and brings results/ and reports/ back.

python -m pipelines.cluster.job
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from pipelines.cluster.job_client import follow, submit
from regproxy.errors import ConfigError
from regproxy.runs.shared_storage import Exchange
from regproxy.storage.folders import pull_folder

COMMAND = "make cluster-repro"
LIMIT_BYTES = 100 * 2**20  # Ray's own
# What a job makes anew or finds on the storage, beside what .gitignore names.
EXCLUDES = (".git", ".venv", "data", "runs", "results", "reports", "complexity", "mlartifacts", ".ray")
EXCLUDED_FILES = ("mlflow.db", "mlflow.db-shm", "mlflow.db-wal")
_HANDED_ON = ("REGPROXY_STORAGE", "REGPROXY_CACHE", "MLFLOW_TRACKING_URI")
_HANDED_ON_PREFIXES = ("AWS_", "MLFLOW_TRACKING_")


def job() -> int:
    """Submits, follows and fetches; returns the job's exit status.

    Raises:
        ConfigError: no cluster or no storage is named, or the tree is too large.
    """
    exchange = Exchange.from_environment()
    if not os.environ.get("RAY_ADDRESS"):
        raise ConfigError("RAY_ADDRESS is not set, give the cluster's dashboard, such as http://head:8265")
    if exchange is None:
        raise ConfigError(
            "REGPROXY_STORAGE is not set: a job leaves its files on the cluster; give a URL that the cluster "
            "and this machine both reach, such as s3://bucket/folder"
        )
    tree = Path.cwd()
    check_size(tree)
    excludes = [f"/{name}" for name in (*EXCLUDES, *EXCLUDED_FILES)]
    client, name = submit(COMMAND, tree=tree, excludes=excludes, variables=handed_on(os.environ))
    print(f"job {name}", flush=True)
    try:
        status = follow(client, name, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(
            f"\nthe job goes on without being followed\n  follow it: ray job logs --follow {name}\n"
            f"  stop it:   ray job stop {name}\n"
            f"when it has ended, `make job` again brings what it has finished",
            file=sys.stderr,
        )
        return 130
    for profile in yaml.safe_load((tree / "params.yaml").read_text())["profiles"]:
        for kind in ("results", "reports"):
            files = pull_folder(exchange.storage / f"{kind}/{profile}", tree / kind / profile)
            print(f"{len(files)} files brought to {kind}/{profile}/")
    return status


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns the variables that the job gets from here."""
    return {
        name: value
        for name, value in environment.items()
        if name in _HANDED_ON or name.startswith(_HANDED_ON_PREFIXES)
    }


def check_size(tree: Path, limit: int = LIMIT_BYTES) -> int:
    """Returns the bytes that would be sent; raises ConfigError naming the largest files if too many."""
    sizes = {path: path.stat().st_size for path in sent_files(tree)}
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=sizes.get, reverse=True)[:5]
        names = ", ".join(f"{path.relative_to(tree)} ({sizes[path] / 2**20:.1f} MiB)" for path in largest)
        raise ConfigError(
            f"the working tree has {total / 2**20:.1f} MiB, a job takes {limit / 2**20:.0f} MiB; move away "
            f"or name in .gitignore the largest files: {names}"
        )
    return total


def sent_files(tree: Path) -> Iterable[Path]:
    """Returns the files that a job gets: what git would track, less what jobs make anew."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        paths = [tree / name for name in listed.stdout.split("\0") if name]
    else:  # no repository: everything may go
        paths = list(tree.rglob("*"))
    left_out = {*EXCLUDES, *EXCLUDED_FILES}
    return [path for path in paths if path.is_file() and path.relative_to(tree).parts[0] not in left_out]


def main() -> int:
    try:
        return job()
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
