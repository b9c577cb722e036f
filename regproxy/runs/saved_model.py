"""Save a trained network to a run folder and load it again.

A run folder holds `run.json` (the run record, with the variant) and `model.safetensors` (the weights).
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from regproxy.config.variant import Variant
from regproxy.errors import DataError, UserError
from regproxy.model.build import build
from regproxy.model.state_diff import describe_differences
from regproxy.storage.atomic import atomic_file

_WEIGHTS, _RECORD = "model.safetensors", "run.json"
_DRAWS = {Tensor.normal_, Tensor.uniform_, Tensor.erfinv_, Tensor.clamp_}
_REMEDY = "Give the folder of a finished run."


def save_model(model: nn.Module, directory: str | os.PathLike) -> None:
    """Write a network's weights to `model.safetensors` in a run folder, completely or not at all.

    The run record, which is needed to load them, is written separately.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    with atomic_file(Path(directory) / _WEIGHTS) as temporary:
        save_file(weights, temporary)


def load_model(path: str | os.PathLike, device: str | torch.device = "cpu") -> nn.Module:
    """Return the trained network of a run, in eval mode.

    Args:
        path: a run folder, or a .safetensors file beside its run.json.
        device: where the network will run.

    Raises:
        DataError: a file is missing or damaged, or names, shapes or dtypes of the weights do not fit.
    """
    file = _files(path)[1]
    variant, weights = load_variant(path), _read_weights(file)
    model = build_empty(variant)
    differences = describe_differences(model.state_dict(), weights)
    if differences:
        raise DataError(f"{file} does not fit the network in {_RECORD} ({differences}). Train it again.")
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval()


def build_empty(variant: Variant) -> nn.Module:
    """Return a variant's network on the meta device: without weights, in no time, with no random draws."""
    with torch.device("meta"), _NoDraws():
        return build(variant)


def load_variant(path: str | os.PathLike) -> Variant:
    """Return the variant of a run: network, recipe, evaluation and classes; `path` as in `load_model`.

    Raises:
        DataError: the run record is missing or damaged.
    """
    return run_variant(load_record(path))


def load_record(path: str | os.PathLike) -> dict[str, Any]:
    """Return the run record of a run, whose variant this version can read; `path` as in `load_model`.

    Raises:
        DataError: the record is missing or damaged.
    """
    file = _files(path)[0]
    try:
        record = json.loads(file.read_text())
        run_variant(record)
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{file} is missing. {_REMEDY}") from None
    except (KeyError, TypeError, ValueError, UserError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file} is not a run record of this version ({reason}). {_REMEDY}") from None
    return record


def run_variant(record: Mapping[str, Any]) -> Variant:
    """Return the variant that a run record contains."""
    return Variant.from_dict(record["variant"])


def _files(path: str | os.PathLike) -> tuple[Path, Path]:
    """Return the paths of the run record and of the weights; `path` as in `load_model`."""
    path = Path(path)
    if path.suffix == ".safetensors" and not path.is_dir():
        return path.with_name(_RECORD), path
    return path / _RECORD, path / _WEIGHTS


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise DataError(f"{file} is missing. {_REMEDY}") from None
    except SafetensorError as error:
        raise DataError(f"{file} is damaged ({error}). Train it again.") from None


class _NoDraws(TorchFunctionMode):
    """Skip what draws weights. On the meta device it would only load torch's compiler, for a second."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if function in _DRAWS or getattr(function, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return function(*args, **given)
