"""Save a trained network to a run folder and load it again.

A run folder holds `run.json` (the run record, with the variant) and `model.safetensors` (the weights).
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regproxy.config.variant import Variant
from regproxy.model.build import build

_WEIGHTS, _RECORD = "model.safetensors", "run.json"


def save_model(model: nn.Module, directory: str | os.PathLike) -> None:
    """Writes `model.safetensors`, whole or not at all.

    The variant that rebuilds the network stands in the run record beside it, which the trainer writes last.
    """
    path = Path(directory) / _WEIGHTS
    temporary = path.with_name(f".{path.name}.tmp")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    save_file(weights, temporary)
    os.replace(temporary, path)


def load_model(path: str | os.PathLike, device: str | torch.device = "cpu") -> nn.Module:
    """Returns the trained network of a run's folder (run.json and model.safetensors), in eval mode.

    Raises:
        ValueError: a file is missing or unreadable, or the weights do not fit the network.
    """
    directory = Path(path)
    variant, weights = load_variant(directory), _read_weights(directory / _WEIGHTS)
    with torch.device("meta"):  # no weights are drawn, so no time is spent and no random state moves
        model = build(variant)
    wanted = model.state_dict()
    problems = {
        "missing": wanted.keys() - weights.keys(),
        "superfluous": weights.keys() - wanted.keys(),
        "of another shape or type": {
            name for name in wanted.keys() & weights.keys() if _kind(wanted[name]) != _kind(weights[name])
        },
    }
    found = [f"{problem}: {', '.join(sorted(names))}" for problem, names in problems.items() if names]
    if found:
        raise ValueError(
            f"{directory / _WEIGHTS} does not fit the network of its {_RECORD}, train it again "
            f"({'; '.join(found)})"
        )
    model.load_state_dict(weights, assign=True)
    return model.to(device).eval()


def load_variant(path: str | os.PathLike) -> Variant:
    """Returns the variant in the record of a run's folder: what was trained, and how to predict.

    Raises:
        ValueError: the record is missing or none.
    """
    path = Path(path) / _RECORD
    try:
        return Variant.from_dict(json.loads(path.read_text())["variant"])
    except (FileNotFoundError, NotADirectoryError):
        raise ValueError(f"{path} is missing, give the folder of a finished run") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no run record ({error!r}), give the folder of a finished run") from None


def _kind(tensor: Tensor) -> tuple[torch.Size, torch.dtype]:
    return tensor.shape, tensor.dtype


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing, give the folder of a finished run") from None
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged ({error}), train it again") from None
