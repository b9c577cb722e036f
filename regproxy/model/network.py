"""The network: RegProxy put together; networks built from a cell, to and from a run's folder.

B batch, C width, K classes, X Y image, p patch, H W token grid, h w sub-cells a token.
"""

import json
import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from regproxy.config import Cell
from regproxy.model.affinity import AffinityHead, paint
from regproxy.model.backbone import VisionTransformer, build_backbone
from regproxy.model.baselines import ClassHead, LinearNetwork
from regproxy.model.segmenter import MaskTransformer, Segmenter

_WEIGHTS, _RECORD = "model.safetensors", "run.json"


class RegProxy(nn.Module):
    """Tokens are regions: early tokens say what belongs to each, late tokens what it is (section 4).

    `patch` is the token's side and `stride` the (vertical, horizontal) step of the output, in pixels.
    """

    def __init__(self, backbone: VisionTransformer, affinity_head: AffinityHead, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.affinity_head = affinity_head
        self.classifier = ClassHead(backbone.late_width, num_classes)
        self.patch = backbone.patch
        height, width = affinity_head.region
        self.stride = (self.patch / height, self.patch / width)

    def forward(self, images: Tensor, *, return_affinity: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Maps normalised images (B, 3, X, Y) of any size to logits (B, K, ceil(X / p) h, ceil(Y / p) w).

        With `return_affinity` the affinity (B, 9, h, w, H, W) comes second.
        """
        affinity, token_logits = self.regions(images)
        logits = paint(affinity, token_logits)
        return (logits, affinity) if return_affinity else logits

    def regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the affinity (B, 9, h, w, H, W) and the token logits (B, K, H, W)."""
        early, late = self.backbone(images)  # B C H W each
        affinity = self.affinity_head(early)  # B 9 h w H W
        token_logits = self.classifier(late)  # B K H W
        return affinity, token_logits


def build(cell: Cell) -> nn.Module:
    """Makes a cell's network with freshly drawn weights, position embedding sized for its crop.

    Raises:
        ValueError: the backbone is no transformer that timm knows, or has no such sizes or tap.
    """
    config, num_classes = cell.model, cell.data.num_classes
    backbone = build_backbone(
        config.backbone,
        image_size=cell.recipe.crop,
        tap=config.tap,
        drop_path=config.drop_path,
        multi_level=config.multi_level,
    )
    match config.head:
        case "linear":
            return LinearNetwork(backbone, num_classes)
        case "segmenter":
            return Segmenter(backbone, MaskTransformer(backbone.width, num_classes))
        case "regproxy":
            return RegProxy(backbone, AffinityHead(backbone.width, config.region, config.conv), num_classes)


def save_model(model: nn.Module, directory: str | os.PathLike) -> None:
    """Writes `model.safetensors`, whole or not at all.

    The cell that rebuilds the network stands in the run record beside it, which the trainer writes last.
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
    cell, weights = load_cell(directory), _read_weights(directory / _WEIGHTS)
    with torch.device("meta"):  # no weights are drawn, so no time is spent and no random state moves
        model = build(cell)
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


def load_cell(path: str | os.PathLike) -> Cell:
    """Returns the cell in the record of a run's folder: what was trained, on which classes, how to predict.

    Raises:
        ValueError: the record is missing or none.
    """
    path = Path(path) / _RECORD
    try:
        return Cell.from_dict(json.loads(path.read_text())["cell"])
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
