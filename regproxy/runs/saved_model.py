"""Save a trained network to a run folder and load it again.

A run folder holds `run.json` (the run record, with the variant) and `model.safetensors` (the weights).
"""

import json
import os
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
    """Return the trained network of a run folder, in eval mode.

    Raises:
        DataError: a file is missing or damaged, or names, shapes or dtypes of the weights do not fit.
    """
    directory = Path(path)
    variant, weights = load_variant(directory), _read_weights(directory / _WEIGHTS)
    model = build_empty(variant)
    differences = describe_differences(model.state_dict(), weights)
    if differences:
        raise DataError(
            f"{directory / _WEIGHTS} does not fit the network in {_RECORD} ({differences}). Train it again."
        )
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval()


def build_empty(variant: Variant) -> nn.Module:
    """Return a variant's network on the meta device: without weights, in no time, with no random draws."""
    with torch.device("meta"), _NoDraws():
        return build(variant)


def load_variant(path: str | os.PathLike) -> Variant:
    """Return the variant in the run record of a run folder: network, recipe, evaluation and classes.

    Raises:
        DataError: the record is missing or damaged.
    """
    file = Path(path) / _RECORD
    try:
        return Variant.from_dict(json.loads(file.read_text())["variant"])
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{file} is missing. {_REMEDY}") from None
    except (KeyError, TypeError, ValueError, UserError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file} is not a run record of this version ({reason}). {_REMEDY}") from None


def _read_weights(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except FileNotFoundError:
        raise DataError(f"{file} is missing. {_REMEDY}") from None
    except SafetensorError as error:
        raise DataError(f"{file} is damaged ({error}). Train it again.") from None


class _NoDraws(TorchFunctionMode):
    """Skip what draws weights: on the meta device it has no effect but to load torch's compiler, for a second."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if function in _DRAWS or getattr(function, "__module__", "") == nn.init.__name__:
            return args[0] if args else given["tensor"]
        return function(*args, **given)
