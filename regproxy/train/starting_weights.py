"""The weights that a training starts from: timm's for the backbone, or those of a whole trained network."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from regproxy.config.network import ModelConfig
from regproxy.errors import DataError
from regproxy.model.interpolation import whole_patches
from regproxy.model.pretrained import load_pretrained, read_weights, resized, weights_file
from regproxy.released.official_names import official_names
from regproxy.runs.record import read_record
from regproxy.storage.hashing import file_sha256

_BACKBONE = "backbone.vit."  # before the names of the backbone's tensors in a run's file
_PART = re.compile(r"backbone\.vit\.(?:blocks\.\d+|\w+)|\w+(?:\.\w+)?")  # how finely messages name tensors


@dataclass(frozen=True)
class StartingWeights:
    """What was loaded from a file before the first step.

    `left_out` names the parts of the file that are not used, `drawn` the parts of the network that the file
    lacks or has in another shape, which keep their random weights.
    """

    path: Path
    is_network: bool  # of a whole network, not of timm's backbone
    num_loaded: int
    left_out: list[str]
    drawn: list[str]

    @property
    def record(self) -> dict[str, Any]:
        """The entry `started_from` of run.json."""
        sha256 = file_sha256(self.path)
        counts = {"loaded": self.num_loaded, "left_out": self.left_out, "drawn": self.drawn}
        return {"path": str(self.path), "sha256": sha256, **counts}

    @property
    def note(self) -> str | None:
        """One line for the user; None for timm's weights, which always fit exactly."""
        if not self.is_network:
            return None
        drawn, left_out = (", ".join(parts) or "nothing" for parts in (self.drawn, self.left_out))
        return (
            f"starts from {self.path}: {self.num_loaded} tensors loaded; drawn anew: {drawn}; "
            f"not used: {left_out}"
        )


def load_starting_weights(network: nn.Module, config: ModelConfig, directory: Path) -> StartingWeights | None:
    """Load a network's starting weights; return what was loaded, or None if it starts from random weights.

    timm's weights must fit the backbone exactly. Of a whole network, a run's or one that the authors
    released, everything that has the right name and shape is loaded, and position embeddings are resized.

    Args:
        config: `pretrain` and `weights` name the file.
        directory: folder with timm's weights.

    Raises:
        DataError: the file is missing or unreadable, timm's weights do not fit, or no block of the backbone
            fits.
    """
    path = weights_file(config, directory)
    if path is None:
        return None
    weights = whole_network(read_weights(path), network) if config.pretrain == "file" else None
    if weights is None:
        unused = load_pretrained(network.backbone, path)
        return StartingWeights(path, False, len(network.backbone.state_dict()), _parts(unused), [])
    return load_what_fits(network, weights, path)


def whole_network(weights: dict[str, Tensor], network: nn.Module) -> dict[str, Tensor] | None:
    """Return the tensors of a file by our names if it holds a whole network, else None.

    A tensor of a released checkpoint that the network does not have keeps the authors' name.
    """
    weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    if any(name.startswith(_BACKBONE) for name in weights):
        return weights
    if not any(name.startswith("decode_head.") for name in weights):
        return None
    ours = {theirs: name for name, theirs in official_names(network.state_dict()).items()}
    return {ours.get(name, name): tensor for name, tensor in weights.items()}


def load_what_fits(network: nn.Module, weights: dict[str, Tensor], path: Path) -> StartingWeights:
    """Load the tensors that have the name and shape of a tensor of the network; return what was loaded.

    Raises:
        DataError: no block of the backbone fits, or the position embedding has an unknown grid.
    """
    expected, grid = network.state_dict(), _trained_grid(path, weights)
    fitting = {}
    for name in expected.keys() & weights.keys():
        tensor, shape = weights[name], expected[name].shape
        if name.startswith(_BACKBONE):
            own_name = name.removeprefix(_BACKBONE)
            tensor = resized(network.backbone, own_name, tensor, shape, path, grid)
        if tensor.shape == shape:
            fitting[name] = tensor.to(expected[name])
    if not any(name.startswith(f"{_BACKBONE}blocks.") for name in fitting):
        raise DataError(
            f"{path} does not fit this network: no block of its backbone has the same shape. Give weights of "
            f"the same architecture, or set pretrain to none."
        )
    network.load_state_dict(fitting, strict=False)
    left_out, drawn = (_parts(name for name in names if name not in fitting) for names in (weights, expected))
    return StartingWeights(path, True, len(fitting), left_out, drawn)


def _trained_grid(path: Path, weights: dict[str, Tensor]) -> tuple[int, int] | None:
    """Return the token grid of a run's crop if its record lies beside the weights; None means a square."""
    try:
        crop = (read_record(path.with_name("run.json")) or {})["variant"]["recipe"]["crop"]
        patch = weights[f"{_BACKBONE}patch_embed.proj.weight"].shape[-1]
        height, width = (whole_patches(side, patch) // patch for side in crop)
    except (KeyError, TypeError, ValueError):
        return None
    return height, width


def _parts(names: Iterable[str]) -> list[str]:
    """Return the parts that tensors belong to, in their order, each once: a block, a layer of a head."""
    return list(dict.fromkeys(match[0] if (match := _PART.match(name)) else name for name in names))
