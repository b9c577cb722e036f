"""What a network costs: its parameters, and GFLOPs counted the paper's way.

The paper's counter takes a multiply-add as one operation and leaves out all of attention, GELU, softmax,
painting and upsampling. Linear layers count without their biases, convolutions with them, a norm twice its
input and a ReLU once. Counting runs on the meta device: shapes only, no weights and no arithmetic.
B = 1 image, C channels, N positions.
"""

import dataclasses
from functools import partial

import torch
from torch import Tensor, nn

from regproxy.config import Cell
from regproxy.model.network import build

IMAGE_SIZE = (512, 512)  # of the paper's tables


def num_parameters(cell: Cell, *, image_size: tuple[int, int] = IMAGE_SIZE) -> int:
    """Returns how many parameters the cell's network has with a position embedding for `image_size`."""
    return sum(parameter.numel() for parameter in _build_on_meta(cell, image_size).parameters())


def gflops_paper(cell: Cell, *, image_size: tuple[int, int] = IMAGE_SIZE) -> float:
    """Returns 10^9 operations for one image of (X, Y) pixels, counted as the paper does (Tables 1 and 2)."""
    model = _build_on_meta(cell, image_size)
    left_out = {id(part) for module in model.modules() if _is_attention(module) for part in module.modules()}
    counts: list[int] = []
    for module in model.modules():
        if id(module) not in left_out:
            module.register_forward_hook(partial(_count, counts))
    with torch.no_grad():
        model(torch.empty(1, 3, *image_size, device="meta"))
    return sum(counts) / 1e9


def _build_on_meta(cell: Cell, image_size: tuple[int, int]) -> nn.Module:
    recipe = dataclasses.replace(cell.recipe, crop=image_size)
    with torch.device("meta"):
        return build(dataclasses.replace(cell, recipe=recipe)).eval()


def _is_attention(module: nn.Module) -> bool:
    """Whether it is timm's attention: the only kind of module with a joint projection to q, k and v."""
    return hasattr(module, "qkv")


def _count(counts: list[int], module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    """Appends the operations of one call of a layer; anything else that is called costs nothing."""
    match module:
        case nn.Conv2d():
            window = module.weight[0].numel()  # multiply-adds for one output value
            counts.append(output.numel() * (window + (module.bias is not None)))
        case nn.Linear():
            counts.append(output.numel() * module.in_features)
        case nn.LayerNorm() | nn.BatchNorm2d():
            counts.append(2 * output.numel())
        case nn.ReLU():
            counts.append(output.numel())
