"""Checkpoints: weights, optimiser state and the step, complete or not there at all.

A checkpoint is a directory `step-00001000` written under a temporary name and renamed, with a manifest of
its files' SHA-256. Sample order, augmentation and drop path are arithmetic in the step, so nothing else is
needed to continue to the same bits.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

FORMAT = 1
_KEPT = 2  # the newest and the one before, should the newest be broken


def save(
    directory: Path, *, step: int, fingerprint: str, model: nn.Module, optimizer: torch.optim.Optimizer
) -> Path:
    """Writes the state after `step` steps below `directory` and drops all but the newest checkpoints.

    Returns where it lies.
    """
    final = directory / f"step-{step:08d}"
    temporary = directory / f".{final.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, temporary / "model.safetensors")
    torch.save(optimizer.state_dict(), temporary / "optimizer.pt")
    files = {path.name: file_digest(path) for path in sorted(temporary.iterdir())}
    manifest = {"format": FORMAT, "fingerprint": fingerprint, "step": step, "files": files}
    (temporary / "manifest.json").write_text(json.dumps(manifest, indent=1))
    shutil.rmtree(final, ignore_errors=True)
    os.replace(temporary, final)
    for old in _newest_first(directory)[_KEPT:]:
        shutil.rmtree(old)
    return final


def discard_unusable(directory: Path, fingerprint: str) -> list[str]:
    """Removes checkpoints that are broken or belong to another training; returns a sentence on each."""
    dropped = []
    for path in _newest_first(directory):
        reason = problem(path, fingerprint)
        if reason:
            dropped.append(f"checkpoint {path} is dropped: {reason}")
            shutil.rmtree(path)
    return dropped


def restore(directory: Path, *, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Loads the newest checkpoint; returns the steps it has behind it, 0 where there is none."""
    newest = _newest_first(directory)[:1]
    if not newest:
        return 0
    (path,) = newest
    model.load_state_dict(load_file(path / "model.safetensors"))
    device = next(model.parameters()).device
    optimizer.load_state_dict(torch.load(path / "optimizer.pt", map_location=device, weights_only=True))
    return json.loads((path / "manifest.json").read_text())["step"]


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"), reverse=True)


def problem(path: Path, fingerprint: str) -> str | None:
    """Returns why a checkpoint cannot be continued by the training of this fingerprint, None if it can."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']}, this version reads {FORMAT}"
        if manifest["fingerprint"] != fingerprint:
            return "it belongs to a training with another configuration, data or code"
        for name, digest in manifest["files"].items():
            if file_digest(path / name) != digest:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it is incomplete ({error})"
    return None
