"""Checkpoints: the weights, their average, the optimiser state and the step; complete or absent.

A checkpoint is a folder `step-00001000`, written under a temporary name and renamed. Its manifest holds the
SHA-256 of each file. Sample order, augmentation and drop path are functions of the step, so a training
resumes to the same bits from these files alone.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from regproxy.runs.trial import Trial
from regproxy.storage.atomic import atomic_folder
from regproxy.storage.hashing import file_sha256

FORMAT = 1
_NUM_KEPT = 2  # the older one is used if the newest is damaged


def save(
    directory: Path,
    *,
    step: int,
    trial: Trial,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> Path:
    """Save a checkpoint after `step` steps below `directory`, remove older ones and return its folder.

    `average` is the moving average of the weights, if the training has one.
    """
    final = directory / f"step-{step:08d}"
    networks = {"model": model} if average is None else {"model": model, "average": average}
    with atomic_folder(final, marker="manifest.json") as folder:
        for name, network in networks.items():
            state = network.state_dict()
            weights = {key: tensor.detach().cpu().contiguous() for key, tensor in state.items()}
            save_file(weights, folder / f"{name}.safetensors")
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")
        manifest = {
            "format": FORMAT,
            "fingerprint": trial.fingerprint,
            "fingerprint_parts": trial.fingerprint_parts,
            "step": step,
            "files": {path.name: file_sha256(path) for path in sorted(folder.iterdir())},
        }
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    for old in _newest_first(directory)[_NUM_KEPT:]:
        shutil.rmtree(old)
    return final


def discard_unusable(directory: Path, fingerprint: str) -> list[str]:
    """Remove checkpoints that are damaged or belong to another training; return a message for each."""
    messages = []
    for path in _newest_first(directory):
        reason = problem(path, fingerprint)
        if reason:
            messages.append(f"checkpoint {path} cannot be used and was removed: {reason}")
            shutil.rmtree(path)
    return messages


def restore(
    directory: Path,
    *,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: nn.Module | None = None,
) -> int:
    """Load the newest checkpoint and return its step; return 0 if there is no checkpoint."""
    path = next(iter(_newest_first(directory)), None)
    if path is None:
        return 0
    model.load_state_dict(load_file(path / "model.safetensors"))
    if average is not None:
        average.load_state_dict(load_file(path / "average.safetensors"))
    state = torch.load(path / "optimizer.pt", map_location="cpu", weights_only=True)
    optimizer.load_state_dict(state)  # moves it to the device of the weights
    return json.loads((path / "manifest.json").read_text())["step"]


def _newest_first(directory: Path) -> list[Path]:
    return sorted(directory.glob("step-*"), reverse=True)


def problem(path: Path, fingerprint: str) -> str | None:
    """Return why the training with this fingerprint cannot resume from a checkpoint; None if it can."""
    try:
        manifest = json.loads((path / "manifest.json").read_text())
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']}, this version reads {FORMAT}"
        if manifest["fingerprint"] != fingerprint:
            return "it belongs to a training with another configuration, data or source code"
        for name, digest in manifest["files"].items():
            if file_sha256(path / name) != digest:
                return f"{name} does not match its checksum"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"it is incomplete ({error})"
    return None
