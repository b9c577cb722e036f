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
from regproxy.storage.hashing import file_sha256
from regproxy.storage.remote import Storage, is_url

CHECKPOINTS, HISTORY, INDEX, RECORD = "checkpoints", "metrics.jsonl", "files.json", "run.json"
RUN_FILES = ("model.safetensors", HISTORY)


def upload_run(directory: Path, run: Storage) -> None:
    """Upload a finished run, its record last, and remove its checkpoints from the storage."""
    run.remove(RECORD)  # of an earlier training, whose files are replaced now
    for name in RUN_FILES:
        run.put(directory / name, name)
    index = {name: file_sha256(directory / name) for name in (*RUN_FILES, RECORD)}
    run.write(INDEX, json.dumps(index, indent=1).encode())
    run.put(directory / RECORD, RECORD)
    with contextlib.suppress(StorageError):  # they only take up space
        run.remove(CHECKPOINTS)


def download_run(run: Storage, directory: Path, fingerprint: str) -> bool:
    """Download a finished run with this fingerprint, its record last; return whether there is one.

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
    """Return the trial with local paths: download its finished run and the validation shards if needed."""
    trial = replace(trial, data_dir=str(local_data(trial.data_dir, ("val",))))
    if not is_url(trial.run_dir):
        return trial
    directory = cache_dir() / "finished" / trial.fingerprint
    if not download_run(Storage(trial.run_dir), directory, trial.fingerprint):
        raise DamagedError(f"{trial.run_dir} holds no finished run of this trial; run ablate again")
    return replace(trial, run_dir=str(directory))


def leave_error(trial: Trial, text: str | None, *, overwrite: bool = True) -> None:
    """Write the run's error.log, or remove it if `text` is None; `overwrite` replaces an existing file."""
    if is_url(trial.run_dir):
        with contextlib.suppress(StorageError):  # the storage itself may be what failed
            run = Storage(trial.run_dir)
            if text is None:
                run.remove("error.log")
            elif overwrite or run.size("error.log") is None:
                run.write("error.log", text.encode())
        return
    log = Path(trial.run_dir) / "error.log"
    if text is None:
        log.unlink(missing_ok=True)
    elif overwrite or not log.exists():
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(text)
