"""Run the pipeline as a job on the cluster at RAY_ADDRESS and download results/ and reports/.

python -m pipelines.cluster.job
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import yaml

from pipelines.cluster.environment import set_job_environment
from regproxy.errors import ConfigError, UserError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.storage.folders import download_folder

COMMAND = "make cluster-repro"
LIMIT_BYTES = 100 * 2**20  # Ray refuses larger working directories
# Not sent, besides what .gitignore names: a job creates these itself or downloads them from the storage.
EXCLUDES = (".git", ".venv", "data", "runs", "results", "reports", "complexity", "mlartifacts", ".ray")
EXCLUDED_FILES = ("mlflow.db", "mlflow.db-shm", "mlflow.db-wal")
_PASSED_VARIABLES = ("REGPROXY_STORAGE", "REGPROXY_CACHE", "MLFLOW_TRACKING_URI")
_PASSED_PREFIXES = ("AWS_", "MLFLOW_TRACKING_")


def job() -> int:
    """Submit the job, print its log and download its results; return its exit status.

    Raises:
        ConfigError: no cluster or no storage is set, or the working tree is too large.
    """
    shared = SharedStorage.from_environment()
    if not os.environ.get("RAY_ADDRESS"):
        raise ConfigError("RAY_ADDRESS is not set, give the cluster's dashboard, such as http://head:8265")
    if shared is None:
        raise ConfigError(
            "REGPROXY_STORAGE is not set: a job leaves its files on the cluster; give a URL that the cluster "
            "and this machine both reach, such as s3://bucket/folder"
        )
    tree = Path.cwd()
    check_size(tree)
    excludes = [f"/{name}" for name in (*EXCLUDES, *EXCLUDED_FILES)]
    set_job_environment()
    from pipelines.cluster.job_client import follow, submit

    client, name = submit(COMMAND, tree=tree, excludes=excludes, variables=passed_variables(os.environ))
    print(f"job {name}", flush=True)
    try:
        status = follow(client, name, lambda text: print(text, end="", flush=True))
    except KeyboardInterrupt:
        print(
            f"\nthe job continues on the cluster\n  show its log: ray job logs --follow {name}\n"
            f"  stop it:   ray job stop {name}\n"
            f"run `make job` again after its end to download what it finished",
            file=sys.stderr,
        )
        return 130
    for profile in yaml.safe_load((tree / "params.yaml").read_text())["profiles"]:
        for kind in ("results", "reports"):
            files = download_folder(shared.storage / f"{kind}/{profile}", tree / kind / profile)
            print(f"{len(files)} files downloaded to {kind}/{profile}/")
    return status


def passed_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that are passed to the job."""
    return {
        name: value
        for name, value in environment.items()
        if name in _PASSED_VARIABLES or name.startswith(_PASSED_PREFIXES)
    }


def check_size(tree: Path, limit: int = LIMIT_BYTES) -> int:
    """Return the size of the sent files in bytes; raise ConfigError if a job cannot take that much."""
    sizes = {path: path.stat().st_size for path in sent_files(tree)}
    total = sum(sizes.values())
    if total > limit:
        largest = sorted(sizes, key=sizes.get, reverse=True)[:5]
        names = ", ".join(f"{path.relative_to(tree)} ({sizes[path] / 2**20:.1f} MiB)" for path in largest)
        raise ConfigError(
            f"the working tree has {total / 2**20:.1f} MiB, a job takes {limit / 2**20:.0f} MiB; move the "
            f"largest files elsewhere or list them in .gitignore: {names}"
        )
    return total


def sent_files(tree: Path) -> Iterable[Path]:
    """Return the files that are sent: all that git would track, except what a job creates itself."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        paths = [tree / name for name in listed.stdout.split("\0") if name]
    else:  # not a git repository
        paths = list(tree.rglob("*"))
    excluded = {*EXCLUDES, *EXCLUDED_FILES}
    return [path for path in paths if path.is_file() and path.relative_to(tree).parts[0] not in excluded]


def main() -> int:
    try:
        return job()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
