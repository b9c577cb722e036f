"""A training whose data and run lie on a storage: it works in a local folder and keeps nothing there.

`<run>/checkpoints/step-00001000/` holds a checkpoint's files and the curves up to it, its manifest written
last; a finished run is model.safetensors, metrics.jsonl, files.json (their SHA-256) and, last, run.json.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from regproxy.data.prepared import local_data
from regproxy.errors import DamagedError, StorageError
from regproxy.model.pretrained import weights_file
from regproxy.runs.stored_run import CHECKPOINTS, HISTORY, upload_run
from regproxy.runs.trial import Trial
from regproxy.storage.cache import cache_dir, fetch
from regproxy.storage.remote import Storage, is_url
from regproxy.train import checkpoint as state
from regproxy.train.context import Context
from regproxy.train.loop import train

_KEPT = 2  # the newest and the one before, should the newest be broken


def train_anywhere(trial: Trial, context: Context, *, git_commit: str | None = None) -> dict[str, Any]:
    """Trains as `train` does, wherever the trial's data, weights and run lie; raises what `train` raises.

    Raises:
        StorageError: the storage cannot be read, or the finished run cannot be written.
    """
    trial = replace(trial, data_dir=str(local_data(trial.data_dir)), pretrained_dir=str(local_weights(trial)))
    if not is_url(trial.run_dir):
        return train(trial, context, git_commit=git_commit)
    run, scratch = Storage(trial.run_dir), scratch_dir(trial, context.rank)
    local = replace(trial, run_dir=str(scratch))
    # The process may have died between the end of its training and that of the upload.
    record = local.finished_record() if context.is_main else None
    if not _agreed(int(record is not None), context):
        bring_checkpoint(run, scratch, trial.fingerprint, context)
        keep = partial(upload_checkpoint, run=run, history=scratch / HISTORY, note=context.note)
        record = train(local, context, git_commit=git_commit, keep=keep)
    if context.is_main and record is not None:
        upload_run(scratch, run)
    shutil.rmtree(scratch, ignore_errors=True)
    return record or {}


def scratch_dir(trial: Trial, rank: int) -> Path:
    """Returns where a worker of a trial works on its node; equal trials of two runs have each their own."""
    run = hashlib.sha256(trial.run_dir.encode()).hexdigest()[:12]
    return cache_dir() / "runs" / f"{trial.fingerprint}-{run}" / f"rank-{rank}"


def local_weights(trial: Trial) -> Path:
    """Returns a local folder with the weights that the trial starts from; a user's own file stays."""
    if not is_url(trial.pretrained_dir):
        return Path(trial.pretrained_dir)
    folder = cache_dir() / "pretrained"
    file = weights_file(trial.variant.model, folder)
    if file is not None and trial.variant.model.pretrain != "file":
        source = Storage(trial.pretrained_dir)
        digest = source.read(f"{file.name}.sha256")
        if digest is None:
            raise DamagedError(f"{source.url} holds no {file.name}; run ablate to upload it")
        folder = folder / digest.decode().strip()
        fetch(source, file.name, folder / file.name, sha256=digest.decode().strip())
    return folder


def bring_checkpoint(run: Storage, scratch: Path, fingerprint: str, context: Context) -> int:
    """Puts the storage's newest usable checkpoint into the worker's folder; returns its step, 0 for none.

    Unusable ones are removed from the storage, saying so; all workers take the one that rank 0 has taken.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    folder, step = run / CHECKPOINTS, 0
    if context.is_main:
        for name in reversed(folder.names()):
            problem = _bring(folder / name, scratch, fingerprint)
            if problem is None:
                step = int(name.removeprefix("step-"))
                break
            context.note(f"checkpoint {folder.url}/{name} is dropped: {problem}")
            folder.remove(name)
    step = _agreed(step, context)
    if step and not context.is_main:
        name = f"step-{step:08d}"
        problem = _bring(folder / name, scratch, fingerprint)
        if problem:
            raise DamagedError(f"checkpoint {folder.url}/{name} cannot be used: {problem}")
    return step


def _agreed(value: int, context: Context) -> int:
    """Returns what rank 0 says to all workers; the others say 0."""
    own = torch.tensor(value if context.is_main else 0, dtype=torch.int64, device=context.device)
    return int(context.sum(own))


def _bring(source: Storage, scratch: Path, fingerprint: str) -> str | None:
    """Fetches a checkpoint into a worker's folder; returns None, or why it cannot be used."""
    name = source.url.rsplit("/", 1)[-1]
    final = scratch / CHECKPOINTS / name
    temporary = final.with_name(f".{name}.tmp")
    content = source.read("manifest.json")
    if content is None:
        return "it is incomplete (no manifest.json)"
    try:
        manifest = json.loads(content)
        if manifest["fingerprint"] != fingerprint:
            return "it belongs to a training with another configuration, data or code"
        temporary.mkdir(parents=True)
        for file, digest in manifest["files"].items():
            source.get(file, temporary / file, sha256=digest)
        (temporary / "manifest.json").write_bytes(content)
        problem = state.problem(temporary, fingerprint)
        if problem is None:
            shutil.copy(temporary / HISTORY, scratch / HISTORY)
            os.replace(temporary, final)
        return problem
    except (DamagedError, ValueError, KeyError, TypeError, OSError) as error:
        if isinstance(error, StorageError) and not isinstance(error, DamagedError):
            raise  # the storage is in trouble, not the checkpoint
        return str(error)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def upload_checkpoint(path: Path, *, run: Storage, history: Path, note: Callable[[str], None]) -> None:
    """Copies a local checkpoint with the curves so far; on failure the training goes on, saying so."""
    folder = run / CHECKPOINTS
    target = folder / path.name
    curves = history.read_bytes()
    manifest = json.loads((path / "manifest.json").read_text())
    files = {**manifest["files"], HISTORY: hashlib.sha256(curves).hexdigest()}
    try:
        target.remove("manifest.json")
        for name in manifest["files"]:
            target.put(path / name, name)
        target.write(HISTORY, curves)
        target.write("manifest.json", json.dumps({**manifest, "files": files}, indent=1).encode())
        for old in list(reversed(folder.names()))[_KEPT:]:
            (folder / old).remove("manifest.json")  # first, so that none is half there with a manifest
            folder.remove(old)
    except StorageError as error:
        note(f"checkpoint {path.name} is not on the storage, the one before counts: {error}")
