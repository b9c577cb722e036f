"""`regproxy fetch`: finished runs of a cluster's storage in local run folders."""

import argparse
import os
import sys
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "fetch",
        help="download finished runs with their weights from a cluster's storage",
        description="Download every finished run of a profile, or of a part of it, and verify its checksums. "
        "Files that are here already are not downloaded again.",
    )
    command.add_argument(
        "runs", help="profile, a part such as demo/ade20k/4x4, or a URL such as s3://bucket/folder/runs/demo"
    )
    command.add_argument("--storage", help="URL of the storage (default: REGPROXY_STORAGE)")
    command.add_argument("--out", type=Path, default=Path("runs"), help="folder (default: %(default)s)")
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.cli.progress_bar import progress_bar
    from regproxy.errors import ConfigError, StorageError
    from regproxy.runs.record import read_record
    from regproxy.runs.stored_run import RECORD, fetch_run, finished_runs
    from regproxy.storage.remote import Storage, is_url

    source = options.runs.rstrip("/")
    if not is_url(source):
        storage = options.storage or os.environ.get("REGPROXY_STORAGE")
        if not storage:
            raise ConfigError("no storage is given: add --storage with a URL such as s3://bucket/folder")
        source = f"{storage.rstrip('/')}/runs/{source.removeprefix('runs/')}"
    runs, kept = finished_runs(Storage(source)), []
    if not runs:
        raise StorageError(f"{source} holds no finished run. Give a profile that was trained with it.")
    with progress_bar("downloading", "runs") as progress:
        for done, run in enumerate(runs, start=1):
            directory = options.out.joinpath(*run.url.split("/")[-4:])  # profile, data set, variant, seed
            here, there = read_record(directory / RECORD), run.read_json(RECORD) or {}
            if here is not None and here.get("fingerprint") != there.get("fingerprint"):
                kept.append(directory)
            else:
                fetch_run(run.url, directory)
            progress(done, len(runs))
    print(f"{len(runs) - len(kept)} finished runs are in {options.out}/")
    for directory in kept:
        print(f"error: {directory} holds another training and was kept. Use --out.", file=sys.stderr)
    return 1 if kept else 0
