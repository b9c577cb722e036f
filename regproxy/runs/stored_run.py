"""Upload a finished run to a storage URL, and download it again.

A stored run is model.safetensors, metrics.jsonl, files.json (their SHA-256) and, written last, run.json.
"""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

from regproxy.data.prepared import local_data
from regproxy.errors import DamagedError, StorageError
from regproxy.runs.trial import Trial
from regproxy.storage.cache import cache_dir, fetch
from regproxy.storage.remote import Storage, file_sha256, is_url

CHECKPOINTS, HISTORY, INDEX, RECORD = "checkpoints", "metrics.jsonl", "files.json", "run.json"
RUN_FILES = ("model.safetensors", HISTORY)


def upload_run(directory: Path, run: Storage) -> None:
    """Copies a finished run, its record last, and removes the checkpoints that led to it."""
    run.remove(RECORD)  # of an earlier training, whose files now go
    for name in RUN_FILES:
        run.put(directory / name, name)
    index = {name: file_sha256(directory / name) for name in (*RUN_FILES, RECORD)}
    run.write(INDEX, json.dumps(index, indent=1).encode())
    run.put(directory / RECORD, RECORD)
    with contextlib.suppress(StorageError):  # they would only take room
        run.remove(CHECKPOINTS)


def download_run(run: Storage, directory: Path, fingerprint: str) -> bool:
    """Brings a finished run of this fingerprint, its record last; returns whether the storage has one.

    Raises:
        StorageError: the storage cannot be read.
        DamagedError: the run's files are not those of its index.
    """
    try:
        record, index = (json.loads(run.read(name) or b"null") for name in (RECORD, INDEX))
    except ValueError:
        return False
    if not record or not index or record.get("fingerprint") != fingerprint:
        return False
    for name in (*RUN_FILES, RECORD):
        fetch(run, name, directory / name, sha256=index[name])
    return True


def local_run(trial: Trial) -> Trial:
    """Returns the trial with a finished run's files and the validation shards on this node."""
    trial = replace(trial, data_dir=str(local_data(trial.data_dir, ("val",))))
    if not is_url(trial.run_dir):
        return trial
    directory = cache_dir() / "finished" / trial.fingerprint
    if not download_run(Storage(trial.run_dir), directory, trial.fingerprint):
        raise DamagedError(f"{trial.run_dir} holds no finished run of this trial; run ablate again")
    return replace(trial, run_dir=str(directory))


def leave_error(trial: Trial, text: str | None) -> None:
    """Writes the run's error.log, or removes an earlier one."""
    if is_url(trial.run_dir):
        with contextlib.suppress(StorageError):  # it may be the very thing that failed
            run = Storage(trial.run_dir)
            run.remove("error.log") if text is None else run.write("error.log", text.encode())
        return
    log = Path(trial.run_dir) / "error.log"
    log.unlink(missing_ok=True)
    if text is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
