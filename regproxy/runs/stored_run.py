"""Finished runs on a storage, and the error.log of a failed run.

A stored run is model.safetensors, metrics.jsonl, run.json and, written last, files.json with their SHA-256.
"""

import contextlib
import re
from pathlib import Path

from regproxy.data.prepared import local_data
from regproxy.errors import DamagedError, StorageError
from regproxy.runs.trial import Trial
from regproxy.storage.cache import cache_dir
from regproxy.storage.folders import INDEX, download_folder, upload_folder
from regproxy.storage.remote import Storage, is_url

CHECKPOINTS, HISTORY, RECORD = "checkpoints", "metrics.jsonl", "run.json"


def upload_run(directory: Path, run: Storage) -> None:
    """Upload a finished run, and remove its checkpoints from the storage."""
    upload_folder(directory, run, ("model.safetensors", HISTORY, RECORD))
    with contextlib.suppress(StorageError):  # they only take up space
        run.remove(CHECKPOINTS)


def download_run(run: Storage, directory: Path, fingerprint: str) -> bool:
    """Download a finished run with this fingerprint, its record last; return whether there is one.

    Raises:
        StorageError: the storage cannot be read.
        DamagedError: the run's files are not those of its index.
    """
    record = run.read_json(RECORD) or {}
    return record.get("fingerprint") == fingerprint and bool(download_folder(run, directory))


def fetch_run(url: str, directory: Path | None = None) -> Path:
    """Download a finished run, each file verified by its SHA-256, and return the local folder that holds it.

    Files that are there already, with the right SHA-256, are not downloaded again.

    Args:
        url: the run's folder on a storage, such as s3://bucket/folder/runs/demo/ade20k/4x4/0.
        directory: the local folder; None for one in the node's cache, named after the run's fingerprint.

    Raises:
        StorageError: the storage cannot be reached, or the URL is not that of a finished run.
        DamagedError: a file is missing or its SHA-256 is not the one in the index.
    """
    run = Storage(url.rstrip("/"))
    fingerprint = (run.read_json(RECORD) or {}).get("fingerprint")
    if not re.fullmatch(r"[0-9a-f]{64}", str(fingerprint)) or run.size(INDEX) is None:
        raise StorageError(
            f"{run.url} holds no finished run (no {RECORD} or no {INDEX}). Give a finished run's folder, "
            f"such as s3://bucket/folder/runs/demo/ade20k/4x4/0."
        )
    directory = directory or cache_dir() / "finished" / fingerprint
    download_folder(run, directory)
    return directory


def finished_runs(folder: Storage, depth: int = 4) -> list[Storage]:
    """Return the finished runs in a folder of a storage, at most `depth` folders below it, sorted by URL."""
    names = folder.names()
    if INDEX in names and RECORD in names:
        return [folder]
    if depth == 0 or CHECKPOINTS in names:
        return []
    return [run for name in names for run in finished_runs(folder / name, depth - 1)]


def local_run(trial: Trial) -> Trial:
    """Return the trial with local paths: download its finished run and the validation shards if needed."""
    trial = trial.moved(data_dir=str(local_data(trial.workspace.data_dir, ("val",))))
    if not is_url(trial.workspace.run_dir):
        return trial
    directory = cache_dir() / "finished" / trial.fingerprint
    if not download_run(Storage(trial.workspace.run_dir), directory, trial.fingerprint):
        raise DamagedError(f"{trial.workspace.run_dir} holds no finished run of this trial; run ablate again")
    return trial.moved(run_dir=str(directory))


def leave_error(trial: Trial, text: str | None, *, overwrite: bool = True) -> None:
    """Write the run's error.log, or remove it if `text` is None; `overwrite` replaces an existing file."""
    run = Storage(trial.workspace.run_dir)
    with contextlib.suppress(StorageError):  # the storage itself may be what failed
        if text is None:
            run.remove("error.log")
        elif overwrite or run.size("error.log") is None:
            run.write("error.log", text.encode())
