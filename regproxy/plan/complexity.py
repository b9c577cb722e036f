"""Cost of a network: its parameters, GFLOPs counted in the paper's way, and GMACs of every operator.

The paper counts a multiply-add as one operation and excludes attention, GELU, softmax, painting and
upsampling. It counts linear layers without biases, convolutions with biases, two operations for each input
value of a norm, and one for each input value of a ReLU or a max pooling.
GMACs are half of torch's own count of every matrix product and convolution, in attention and painting too.
Counting runs on the meta device, which has shapes but no weights and no arithmetic.
"""

import dataclasses
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from regproxy.config.dataset import DataConfig
from regproxy.config.variant import Variant
from regproxy.model.build import build

IMAGE_SIZE, NUM_CLASSES = (512, 512), 150  # as in the paper's tables


def complexity(variant: Variant) -> dict[str, Any]:
    """Return structure and cost of a variant's network at the paper's image size and number of classes.

    Keys: arch, head, region ((h, w) or None), conv, multi_level, num_classes, params, gflops_paper, gmacs.
    """
    classes = tuple(f"class {index}" for index in range(NUM_CLASSES))
    data = DataConfig(name=variant.data.name, format="folder", root=variant.data.root, classes=classes)
    recipe = dataclasses.replace(variant.recipe, class_weights={})  # they name the data set's own classes
    variant = dataclasses.replace(variant, data=data, recipe=recipe)
    network = build_on_meta(variant)
    structure = ("arch", "head", "region", "conv", "multi_level")
    return {
        **{name: getattr(variant.model, name) for name in structure},
        "num_classes": NUM_CLASSES,
        "params": num_parameters(network),
        "gflops_paper": round(gflops_paper(network), 6),
        "gmacs": round(gmacs(network), 6),
    }


def build_on_meta(variant: Variant, *, image_size: tuple[int, int] = IMAGE_SIZE) -> nn.Module:
    """Return the variant's network on the meta device, with position embeddings for images of (X, Y)."""
    recipe = dataclasses.replace(variant.recipe, crop=image_size)
    with torch.device("meta"):
        return build(dataclasses.replace(variant, recipe=recipe)).eval()


def num_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


def gflops_paper(network: nn.Module) -> float:
    """Return 10^9 operations for one image of 512 x 512, counted as in the paper's Tables 1 and 2."""
    # Of all modules, only timm's attention has a joint projection to q, k and v.
    attention = [module for module in network.modules() if hasattr(module, "qkv")]
    excluded = {id(inner) for module in attention for inner in module.modules()}
    counts: list[int] = []
    hooks = [
        module.register_forward_hook(partial(_count, counts))
        for module in network.modules()
        if id(module) not in excluded
    ]
    _run_on_meta(network, IMAGE_SIZE)
    for hook in hooks:
        hook.remove()
    return sum(counts) / 1e9


def gmacs(network: nn.Module, *, image_size: tuple[int, int] = IMAGE_SIZE) -> float:
    """Return 10^9 multiply-adds of all operators for one image of (X, Y) pixels, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        _run_on_meta(network, image_size)
    return counter.get_total_flops() / 2e9


def _run_on_meta(network: nn.Module, image_size: tuple[int, int]) -> None:
    with torch.no_grad():
        network(torch.empty(1, 3, *image_size, device="meta"))


def _count(counts: list[int], module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
    """Append the operations of one call of a module to `counts`; modules of other kinds cost nothing."""
    match module:
        case nn.Conv2d():
            window = module.weight[0].numel()  # multiply-adds for one output value
            counts.append(output.numel() * (window + (module.bias is not None)))
        case nn.Linear():
            counts.append(output.numel() * module.in_features)
        case nn.LayerNorm() | nn.BatchNorm2d() | nn.GroupNorm():
            counts.append(2 * output.numel())
        case nn.ReLU():
            counts.append(output.numel())
        case nn.MaxPool2d():
            counts.append(inputs[0].numel())
