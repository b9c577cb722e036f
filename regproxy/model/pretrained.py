"""Pre-trained backbones: where their files lie, how they come there, and a load that accounts for every key.

Weights are known by timm's name with its tag, such as vit_tiny_patch16_384.augreg_in21k_ft_in1k, and lie in
one directory as `<name>.safetensors`; a file of one's own may also be a checkpoint that torch saved.
"""

import contextlib
import os
import urllib.error
import urllib.request
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from regproxy.config.variant import ModelConfig
from regproxy.model.backbone import VisionTransformer
from regproxy.model.torchvision_ops import declare_missing_operators

_UNUSED = ("head.", "head_dist.")  # the classifiers of ImageNet
_HUB = "https://huggingface.co"
_PATIENCE_S = 5.0


def weights_file(model: ModelConfig, directory: Path) -> Path | None:
    """Returns where the model's pre-trained weights are expected; None where it starts from scratch."""
    if model.weights is None:
        return None
    return Path(model.weights) if model.pretrain == "file" else directory / f"{model.weights}.safetensors"


def ensure_weights(model: ModelConfig, directory: Path) -> Path | None:
    """Returns the file of `weights_file`, fetched by timm first where it is missing and the network allows.

    Raises:
        ValueError: it is not there and cannot be fetched; names the weights, the file and its place.
    """
    path = weights_file(model, directory)
    if path is None or path.exists():
        return path
    if model.pretrain == "file":
        raise ValueError(f"weights file {path} is missing, put it there or change weights in the profile")
    try:
        weights = _fetch(model.weights)
    except OSError as error:
        raise ValueError(
            f"weights {model.weights} ({model.pretrain} for {model.arch}) are not at {path} and could not be "
            f"fetched ({error}); download model.safetensors from {_HUB}/timm/{model.weights} and put it "
            f"there under that name, or set pretrained_dir in the profile to where it lies"
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
    os.replace(temporary, path)
    return path


def _fetch(name: str) -> dict[str, Tensor]:
    """Returns timm's weights from its hub; raises OSError if that cannot be reached."""
    hub = os.environ.get("HF_ENDPOINT", _HUB)
    # The hub's own client tries for most of a minute before it gives up; any answer will do here.
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=_PATIENCE_S).close()
    declare_missing_operators()
    from timm.models import load_state_dict_from_hf

    return load_state_dict_from_hf(f"timm/{name}", weights_only=True)


def load_pretrained(backbone: VisionTransformer, path: Path) -> None:
    """Loads a file of timm's weights into the backbone, its position embedding resized bicubically.

    Every key of the file must be one of the backbone's, of the same shape, or of ImageNet's classifier.

    Raises:
        ValueError: the file is missing or unreadable, or any key is left over on either side.
    """
    weights = read_weights(path)
    weights = {name: tensor for name, tensor in weights.items() if not name.startswith(_UNUSED)}
    wanted = backbone.vit.state_dict()
    if "pos_embed" in weights and weights["pos_embed"].ndim == 3:
        weights["pos_embed"] = _resized_position(backbone, weights["pos_embed"], path)
    problems = {
        "missing": wanted.keys() - weights.keys(),
        "superfluous": weights.keys() - wanted.keys(),
        "of another shape": {
            name for name in wanted.keys() & weights.keys() if wanted[name].shape != weights[name].shape
        },
    }
    found = [f"{problem}: {', '.join(sorted(names))}" for problem, names in problems.items() if names]
    if found:
        raise ValueError(
            f"{path} does not fit this backbone ({'; '.join(found)}), give weights of the same model"
        )
    backbone.vit.load_state_dict({name: tensor.to(wanted[name]) for name, tensor in weights.items()})


def read_weights(path: Path) -> dict[str, Tensor]:
    """Returns the tensors of a safetensors file or, never unpickling anything else, of a torch checkpoint.

    Raises:
        ValueError: it is missing, damaged, or holds more than tensors by name.
    """
    if not path.exists():
        raise ValueError(f"{path} is missing, give the path of a file of weights")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as weights ({_first_line(error)}), fetch it again") from None
    except Exception as error:  # pickle.UnpicklingError and whatever else a stranger's file may raise
        raise ValueError(
            f"{path} holds more than tensors and is not opened ({_first_line(error)}), give a file of weights"
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds no tensors by name, give a file of weights")
    return content


def _resized_position(backbone: VisionTransformer, position: Tensor, path: Path) -> Tensor:
    """Returns a (1, P + N, C) embedding of a square grid for the backbone's own grid."""
    from timm.layers import resample_abs_pos_embed

    prefix = 0 if backbone.vit.no_embed_class else backbone.vit.num_prefix_tokens
    side = round((position.shape[1] - prefix) ** 0.5)
    if side**2 != position.shape[1] - prefix:
        raise ValueError(
            f"{path}: pos_embed {tuple(position.shape)} is that of no square grid with {prefix} prefix "
            f"tokens, give weights of the same model"
        )
    return resample_abs_pos_embed(
        position,
        new_size=list(backbone.grid),
        old_size=[side, side],
        num_prefix_tokens=prefix,
        antialias=False,
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
