"""Pre-trained backbones: find or download a file of weights, and load it with every key accounted for.

A directory holds one file per set of weights, `<timm's name with its tag>.safetensors`, for example
vit_tiny_patch16_384.augreg_in21k_ft_in1k.safetensors. A user's own file may also be a torch checkpoint.
"""

import contextlib
import math
import os
import urllib.error
import urllib.request
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from regproxy.config.network import ModelConfig
from regproxy.errors import ConfigError, DataError
from regproxy.model.backbone import VisionTransformer, resize_position_embedding
from regproxy.model.state_diff import describe_differences
from regproxy.model.torchvision_ops import declare_missing_operators
from regproxy.storage.atomic import atomic_file

_UNUSED = ("head.", "head_dist.", "attn_pool.")  # classifiers, and a pooling before them
_HUB = "https://huggingface.co"
_HUB_TIMEOUT_S = 5.0


def weights_file(model: ModelConfig, directory: Path) -> Path | None:
    """Return the path at which a model's weights are expected, or None if it starts from random ones."""
    if model.weights is None:
        return None
    if model.pretrain != "file":
        return directory / f"{model.weights}.safetensors"
    path = Path(model.weights)
    return path / "model.safetensors" if path.is_dir() else path  # a run folder


def ensure_weights(model: ModelConfig, directory: Path) -> Path | None:
    """Return the path of a model's pre-trained weights, or None if it needs none. Download them if missing.

    Raises:
        ConfigError: the weights are missing and cannot be downloaded; names the file and the download page.
    """
    path = weights_file(model, directory)
    if path is None or path.exists():
        return path
    if model.pretrain == "file":
        raise ConfigError(
            f"weights file {path} is missing. Put it there, finish the run that writes it, or change "
            f"`weights` in the profile."
        )
    try:
        weights = _download(model.weights)
    except OSError as error:
        raise ConfigError(
            f"weights {model.weights} ({model.pretrain} for {model.arch}) are not at {path} and could not be "
            f"downloaded ({error}). Download model.safetensors from {_HUB}/timm/{model.weights} and save it "
            f"as this file, or set pretrained_dir in the profile to the folder that holds it."
        ) from None
    with atomic_file(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)
    return path


def _download(name: str) -> dict[str, Tensor]:
    """Return the weights that timm publishes under a name; raises OSError if its hub cannot be reached."""
    hub = os.environ.get("HF_ENDPOINT", _HUB)
    # Without this check the hub's client retries for most of a minute. An HTTP error proves a connection too.
    with contextlib.suppress(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=_HUB_TIMEOUT_S).close()
    declare_missing_operators()
    from timm.models import load_state_dict_from_hf

    return load_state_dict_from_hf(f"timm/{name}", weights_only=True)


def load_pretrained(backbone: VisionTransformer, path: Path) -> list[str]:
    """Load a file of timm's weights into the backbone and return the names in the file that are not used.

    Position embeddings are resized to the backbone's token grid. Every key of the file must be a key of the
    backbone with the same shape, or belong to a classifier. The backbone stays unchanged if one is not.

    Raises:
        DataError: the file is missing or unreadable, or keys are missing, superfluous or of another shape.
    """
    content = read_weights(path)
    weights = {name: tensor for name, tensor in content.items() if not name.startswith(_UNUSED)}
    expected = backbone.vit.state_dict()
    if "norm.weight" in expected and "norm.weight" not in weights:  # timm's name for a norm after pooling
        weights = {name.replace("fc_norm.", "norm."): tensor for name, tensor in weights.items()}
    for name in weights.keys() & expected.keys():
        weights[name] = resized(backbone, name, weights[name], expected[name].shape, path)
    differences = describe_differences(expected, weights, check_dtypes=False)
    if differences:
        raise DataError(f"{path} does not fit this backbone ({differences}). Give weights of the same model.")
    backbone.vit.load_state_dict({name: tensor.to(expected[name]) for name, tensor in weights.items()})
    return [name for name in content if name.startswith(_UNUSED)]


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file or of a torch checkpoint. Nothing but tensors is unpickled.

    Raises:
        DataError: the file is missing, damaged, or holds other objects than tensors by name.
    """
    if not path.exists():
        raise DataError(f"{path} is missing. Give the path of a file of weights.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        raise DataError(f"{path} is damaged ({_first_line(error)}). Download it again.") from None
    except Exception as error:  # an unknown file may raise pickle.UnpicklingError and many others
        raise DataError(
            f"{path} was not loaded: it holds other objects than tensors ({_first_line(error)}). "
            f"Give a file of weights."
        ) from None
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path} does not hold tensors by name. Give a file of weights.")
    return content


def resized(
    backbone: VisionTransformer,
    name: str,
    tensor: Tensor,
    shape: torch.Size,
    path: Path,
    grid: tuple[int, int] | None = None,
) -> Tensor:
    """Return a tensor of a file, resized if it is a position embedding or a bias of another token grid.

    Args:
        name: its name in timm's model.
        shape: that of the backbone's tensor.
        path: the file, for messages.
        grid: token grid (H, W) of the file's position embedding; by default a square.

    Raises:
        DataError: the position embedding does not have this grid.
    """
    if name == "pos_embed" and tensor.ndim == len(shape):
        tokens = tensor.flatten(1, -2)  # SAM's is 1 H W C
        prefix = shape[:-1].numel() - backbone.grid[0] * backbone.grid[1]
        patches = tokens.shape[1] - prefix
        expected = f"a grid of {grid[0]} x {grid[1]} tokens" if grid else "a square grid"
        grid = grid or (math.isqrt(max(patches, 0)),) * 2
        if grid[0] * grid[1] != patches:
            raise DataError(
                f"{path}: pos_embed {list(tensor.shape)} does not fit {expected} with {prefix} prefix "
                f"tokens. Give weights of the same model."
            )
        position = resize_position_embedding(tokens, grid, backbone.grid, prefix)
        return position.reshape(*shape[:-1], -1)
    if tensor.shape != shape and name.endswith("relative_position_bias_table"):  # BEiT's
        from timm.layers import resize_rel_pos_bias_table

        return resize_rel_pos_bias_table(tensor, backbone.grid, tuple(shape))
    if tensor.shape != shape and name.endswith(("rel_pos_h", "rel_pos_w")):  # SAM's, resized as timm does
        return functional.interpolate(tensor.T[None], shape[0], mode="linear")[0].T
    return tensor


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
