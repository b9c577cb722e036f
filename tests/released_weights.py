"""Weights with the names and shapes of the authors' released models, and files of them."""

import dataclasses
import json
import math
from pathlib import Path

import torch
from torch import Tensor

from regproxy.released.architectures import ARCHITECTURES, Architecture

RELEASED = json.loads((Path(__file__).parent / "data" / "official_keys.json").read_text())
ADE20K = [name for name in RELEASED if name.endswith("ade20k")]
NARROW = {192: 64, 384: 128, 768: 128, 1024: 192}  # whole heads of 64


def shapes_of(name: str, *, narrow: bool = False) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a released model; `narrow` changes only the width of the transformer."""
    listed, depth = RELEASED[name]["shapes"], RELEASED[name]["depth"]
    shapes = {
        key.replace("*", str(index)): tuple(shape)
        for key, shape in listed.items()
        for index in range(depth if "*" in key else 1)
    }
    width = shapes["backbone.pos_embed"][-1]
    smaller = {times * width: times * NARROW[width] for times in (1, 3, 4)} if narrow else {}
    return {
        key: shape if ".stem." in key or ".stages." in key else tuple(smaller.get(n, n) for n in shape)
        for key, shape in shapes.items()
    }


def narrow(architecture: Architecture) -> Architecture:
    width = NARROW[architecture.layout[0]]
    backbone = dataclasses.replace(architecture.backbone, width=width, heads=width // 64)
    return dataclasses.replace(architecture, backbone=backbone, layout=(width, *architecture.layout[1:]))


KNOWN = (*ARCHITECTURES, *map(narrow, ARCHITECTURES))


def draw(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return weights with which attention, affinity and logits are far from uniform and of the order of 1."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if not shape:
            weights[name] = torch.tensor(160_000)
        elif name.endswith(("_token", "pos_embed")):
            weights[name] = values / 2
        elif len(shape) > 1:
            weights[name] = values / math.prod(shape[1:]) ** 0.5
        elif name.endswith(("weight", "running_var")):
            # Large residual branches of the stem would amplify rounding errors from block to block.
            weights[name] = (values.sigmoid() + 0.5) * (0.4 if ".norm3." in name else 1)
        else:
            weights[name] = values / 10
    return weights


def small_grid(name: str) -> dict[str, Tensor]:
    shapes = shapes_of(name, narrow=True)
    prefix = 2 if "backbone.dist_token" in shapes else 1
    shapes["backbone.pos_embed"] = (1, prefix + 4, shapes["backbone.pos_embed"][-1])
    return draw(shapes)


def save(path: Path, weights: dict[str, Tensor]) -> Path:
    meta = {"iter": 160_000, "CLASSES": ("wall", "building"), "config": "model = dict()"}
    torch.save({"meta": meta, "state_dict": weights, "optimizer": {"state": {0: torch.ones(3)}}}, path)
    return path
