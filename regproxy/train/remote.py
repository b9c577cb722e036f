"""Train a trial whose data and run folder are URLs: work in a local folder, keep nothing there.

`<run>/checkpoints/step-00001000/` holds the files of a checkpoint, the curves up to its step and, written
last, files.json with their SHA-256.
"""

import hashlib
import os
import shutil
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from regproxy.data.prepared import local_data
from regproxy.errors import DamagedError, StorageError
from regproxy.model.pretrained import weights_file
from regproxy.runs.stored_run import CHECKPOINTS, HISTORY, upload_run
from regproxy.runs.trial import Trial
from regproxy.storage.cache import cache_dir, fetch
from regproxy.storage.folders import INDEX, download_folder, upload_folder
from regproxy.storage.remote import Storage, is_url
from regproxy.train import checkpoint
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import Training

_NUM_KEPT = 2  # the older checkpoint is used if the newest is damaged


def train_anywhere(trial: Trial, context: Context, *, git_commit: str | None = None) -> Training:
    """Train a trial whose data, weights and run folder are paths or URLs; yield reports, return the record.

    Raises:
        StorageError: the storage cannot be read, or the finished run cannot be uploaded.
    """
    data_dir = str(local_data(trial.workspace.data_dir))
    trial = trial.moved(data_dir=data_dir, pretrained_dir=str(local_weights(trial)))
    if not is_url(trial.workspace.run_dir):
        return (yield from train(trial, context, git_commit=git_commit))
    run = Storage(trial.workspace.run_dir)
    digest = hashlib.sha256(run.url.encode()).hexdigest()
    scratch = cache_dir() / "runs" / f"{trial.fingerprint}-{digest[:12]}" / f"rank-{context.rank}"
    local = trial.moved(run_dir=str(scratch))
    # If the process died after its last step but before the end of the upload, only the upload is repeated.
    record = local.finished_record() if context.is_main else None
    if not context.any(record is not None):
        notes = download_checkpoint(run, scratch, trial.fingerprint, context)
        upload = partial(upload_checkpoint, run=run, history=scratch / HISTORY)
        training = train(local, context, git_commit=git_commit, upload=upload)
        record = yield from _with_notes(training, notes)
    if context.is_main and record is not None:
        upload_run(scratch, run)
    shutil.rmtree(scratch, ignore_errors=True)
    return record or {}


def _with_notes(training: Training, notes: list[str]) -> Training:
    """Yield from a training; the first report also carries `notes`."""
    with closing(training):
        first = next(training)
        yield replace(first, notes=(*notes, *first.notes))
        return (yield from training)


def local_weights(trial: Trial) -> Path:
    """Return a local folder with the trial's pre-trained weights; download them from a storage."""
    if not is_url(trial.workspace.pretrained_dir):
        return Path(trial.workspace.pretrained_dir)
    folder = cache_dir() / "pretrained"
    file = weights_file(trial.variant.model, folder)
    if file is None or trial.variant.model.pretrain == "file":
        return folder
    source = Storage(trial.workspace.pretrained_dir) / file.stem
    sha256 = (source.read_json(INDEX) or {}).get(file.name)
    if sha256 is None:
        raise DamagedError(f"{source.url} holds no {file.name}; run ablate to upload it")
    fetch(source, file.name, folder / sha256 / file.name, sha256=sha256)
    return folder / sha256


def download_checkpoint(run: Storage, scratch: Path, fingerprint: str, context: Context) -> list[str]:
    """Download the newest usable checkpoint into the worker's folder; return messages about unusable ones.

    Rank 0 chooses the checkpoint and removes unusable ones from the storage; all workers take the same one.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    folder, step, notes = run / CHECKPOINTS, 0, []
    for name in reversed(folder.names()) if context.is_main else ():
        problem = _download(folder / name, scratch, fingerprint)
        if problem is None:
            step = int(name.removeprefix("step-"))
            break
        notes.append(f"checkpoint {folder.url}/{name} cannot be used and was removed: {problem}")
        folder.remove(name)
    step = int(context.all_reduce(torch.tensor(step, device=context.device)))  # 0 on all but rank 0
    name = f"step-{step:08d}"
    if step and not context.is_main and (problem := _download(folder / name, scratch, fingerprint)):
        raise DamagedError(f"checkpoint {folder.url}/{name} cannot be used: {problem}")
    return notes


def _download(source: Storage, scratch: Path, fingerprint: str) -> str | None:
    """Download a checkpoint into a worker's folder; return None, or why it cannot be used."""
    final = scratch / CHECKPOINTS / source.url.rsplit("/", 1)[-1]
    temporary = final.with_name(f".{final.name}.tmp")
    manifest = source.read_json("manifest.json") or {}
    if manifest.get("fingerprint", fingerprint) != fingerprint:
        return "it belongs to a training with another configuration, data or source code"
    try:
        if not download_folder(source, temporary):
            return f"it is incomplete (no {INDEX})"
        problem = checkpoint.problem(temporary, fingerprint)
        if problem is None:
            os.replace(temporary / HISTORY, scratch / HISTORY)
            os.replace(temporary, final)
        return problem
    except DamagedError as error:
        return str(error)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def upload_checkpoint(path: Path, *, run: Storage, history: Path) -> str | None:
    """Upload a local checkpoint with the curves so far; return a message if that failed."""
    folder = run / CHECKPOINTS
    shutil.copy(history, path / HISTORY)
    try:
        upload_folder(path, folder / path.name)
        for old in folder.names()[:-_NUM_KEPT]:
            (folder / old).remove(INDEX)  # first: a checkpoint without an index is never used
            folder.remove(old)
    except StorageError as error:
        return f"checkpoint {path.name} was not uploaded, the previous one remains the newest: {error}"
    return None
