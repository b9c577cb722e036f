"""A slow, short reference of the paper's network in plain torch, for the authors' own tensors.

It shares no code with the package or with timm. It follows the paper and, for a hybrid's stem, the definition
of ResNetV2 with group norm. B batch, C width, K classes, H W token grid, h w sub-cells a token, N tokens
including prefix tokens, n = 9 neighbours.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

HEAD_WIDTH = 64  # in every released model
OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)]


def reference_logits(weights: Mapping[str, Tensor], images: Tensor, *, tap: int) -> Tensor:
    """Return logits (B, K, H h, W w) of normalised images (B, 3, X, Y), in the weights' precision.

    Args:
        weights: a released state dict.
        tap: index of the block whose output the affinity head reads; -1 is the input of the first block.
    """
    part = Part(weights)
    hybrid = "backbone.patch_embed.proj.weight" in weights
    patch = 32 if hybrid else 16
    below, right = (-side % patch for side in images.shape[2:])
    images = functional.pad(images, (0, right, 0, below))
    if hybrid:
        features = stem(part["backbone.patch_embed.backbone"], images)
        patches = part["backbone.patch_embed.proj"].conv(features)
    else:
        patches = part["backbone.patch_embed.projection"].conv(images, stride=16)
    grid = patches.shape[2:]
    tokens = embed(part["backbone"], patches)
    prefix = tokens.shape[1] - grid[0] * grid[1]
    early = tokens
    layers = {name.split(".")[2] for name in weights if name.startswith("backbone.layers.")}
    for index in range(len(layers)):
        tokens = block(part[f"backbone.layers.{index}"], tokens)
        if index == tap:
            early = tokens
    late = part["backbone.ln1"].layer_norm(tokens)
    early = early[:, prefix:].mT.unflatten(2, grid)  # B C H W
    scores = part["decode_head.mlp.0.0"].linear(late[:, prefix:]).mT.unflatten(2, grid)  # B K H W
    return paint(affinity(part["decode_head.affinity_head"], early), scores)


class Part:
    """The tensors whose names begin with `name`, and the layers that they can be used as."""

    def __init__(self, weights: Mapping[str, Tensor], name: str = "") -> None:
        self.weights, self.name = weights, name

    def __getitem__(self, name: str) -> "Part":
        return Part(self.weights, f"{self.name}{name}.")

    def __contains__(self, name: str) -> bool:
        return any(key.startswith(f"{self.name}{name}") for key in self.weights)

    def get(self, name: str) -> Tensor:
        return self.weights[self.name + name]

    def linear(self, x: Tensor) -> Tensor:
        return x @ self.get("weight").T + self.get("bias")

    def layer_norm(self, x: Tensor) -> Tensor:
        x = x - x.mean(-1, keepdim=True)
        x = x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        return x * self.get("weight") + self.get("bias")

    def conv(self, x: Tensor, *, stride: int = 1) -> Tensor:
        """Apply a convolution with an odd kernel and padding, or one with square cells of `stride` pixels."""
        weight, bias = self.get("weight"), self.get("bias") if "bias" in self else None
        padding = weight.shape[-1] // 2 if stride == 1 else 0
        groups = x.shape[1] // weight.shape[1]
        return functional.conv2d(x, weight, bias, stride=stride, padding=padding, groups=groups)

    def batch_norm(self, x: Tensor) -> Tensor:
        mean, variance, weight, bias = (
            self.get(name)[:, None, None] for name in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (variance + 1e-5).sqrt() * weight + bias

    def group_norm(self, x: Tensor) -> Tensor:
        groups = x.unflatten(1, (32, -1))
        groups = groups - groups.mean((2, 3, 4), keepdim=True)
        groups = groups / (groups.square().mean((2, 3, 4), keepdim=True) + 1e-5).sqrt()
        return groups.flatten(1, 2) * self.get("weight")[:, None, None] + self.get("bias")[:, None, None]

    def standardised_conv(self, x: Tensor, *, stride: int = 1) -> Tensor:
        """Apply a convolution whose filters get mean 0 and variance 1, padded to ceil(side / stride) rows."""
        weight = self.get("weight")
        weight = weight - weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.square().mean((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        return functional.conv2d(pad_same(x, weight.shape[-1], stride, 0.0), weight, stride=stride)


def pad_same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """Pad like TensorFlow's `SAME`: an odd row or column is added below or at the right."""
    rows, columns = (max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:])
    sides = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
    return functional.pad(x, sides, value=value)


def stem(part: Part, x: Tensor) -> Tensor:
    """Return the output (B, C', X / 32, Y / 32) of a hybrid's convolutional stem for (B, 3, X, Y)."""
    x = part["stem.norm"].group_norm(part["stem.conv"].standardised_conv(x, stride=2)).relu()
    x = functional.max_pool2d(pad_same(x, 3, 2, -math.inf), 3, 2)
    for stage in range(4):
        index = 0
        while f"stages.{stage}.blocks.{index}." in part:
            stride = 2 if stage and not index else 1
            x = bottleneck(part[f"stages.{stage}.blocks.{index}"], x, stride)
            index += 1
    return x


def bottleneck(part: Part, x: Tensor, stride: int) -> Tensor:
    shortcut = x
    if "downsample" in part:
        shortcut = part["downsample.conv"].standardised_conv(x, stride=stride)
        shortcut = part["downsample.norm"].group_norm(shortcut)
    y = part["norm1"].group_norm(part["conv1"].standardised_conv(x)).relu()
    y = part["norm2"].group_norm(part["conv2"].standardised_conv(y, stride=stride)).relu()
    return (part["norm3"].group_norm(part["conv3"].standardised_conv(y)) + shortcut).relu()


def embed(part: Part, patches: Tensor) -> Tensor:
    """Return tokens (B, N, C) of patches (B, C, H, W): cls, dist if it exists, patches; plus positions."""
    prefix = [part.get(name) for name in ("cls_token", "dist_token") if name in part]
    position = part.get("pos_embed")
    own, spatial = position[:, : len(prefix)], position[:, len(prefix) :]
    side = math.isqrt(spatial.shape[1])
    if patches.shape[2:] != (side, side):
        spatial = spatial.mT.unflatten(2, (side, side))
        spatial = functional.interpolate(spatial, patches.shape[2:], mode="bicubic", align_corners=False)
        spatial = spatial.flatten(2).mT
    prefix = [token.expand(len(patches), -1, -1) for token in prefix]
    return torch.cat([*prefix, patches.flatten(2).mT], 1) + torch.cat([own, spatial], 1)


def block(part: Part, x: Tensor) -> Tensor:
    """Apply a pre-norm transformer block to (B, N, C)."""
    x = x + attention(part["attn.attn"], part["ln1"].layer_norm(x))
    hidden = part["ffn.layers.0.0"].linear(part["ln2"].layer_norm(x))
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
    return x + part["ffn.layers.1"].linear(hidden)


def attention(part: Part, x: Tensor) -> Tensor:
    width = x.shape[-1]
    weights, biases = part.get("in_proj_weight").split(width), part.get("in_proj_bias").split(width)
    queries, keys, values = (x @ weight.T + bias for weight, bias in zip(weights, biases, strict=True))
    mixed = []
    for start in range(0, width, HEAD_WIDTH):
        q, k, v = (tensor[..., start : start + HEAD_WIDTH] for tensor in (queries, keys, values))
        scores = torch.exp(q @ k.mT / math.sqrt(HEAD_WIDTH))  # B N N
        mixed.append(scores / scores.sum(-1, keepdim=True) @ v)
    return part["out_proj"].linear(torch.cat(mixed, -1))


def affinity(part: Part, x: Tensor) -> Tensor:
    """Return probabilities (B, n, h, w, H, W) of early tokens (B, C, H, W); 0 outside the image."""
    x = part["0.depthwise_conv.bn"].batch_norm(part["0.depthwise_conv.conv"].conv(x)).relu()
    x = part["0.pointwise_conv.bn"].batch_norm(part["0.pointwise_conv.conv"].conv(x)).relu()
    x = part["1.conv"].conv(x)  # channel (n h + i) w + j
    side = math.isqrt(x.shape[1] // 9)
    weights = torch.exp(x.unflatten(1, (9, side, side)))
    height, width = x.shape[2:]
    for n, (dy, dx) in enumerate(OFFSETS):
        for row in range(height):
            for column in range(width):
                if not (0 <= row + dy < height and 0 <= column + dx < width):
                    weights[:, n, :, :, row, column] = 0
    return weights / weights.sum(1, keepdim=True)


def paint(probabilities: Tensor, scores: Tensor) -> Tensor:
    """Apply Algorithm 1: sum over the tokens around each sub-cell, one token after the other."""
    batch, _, h, w, height, width = probabilities.shape
    painted = scores.new_zeros(batch, scores.shape[1], height * h, width * w)
    for row in range(height):
        for column in range(width):
            for n, (dy, dx) in enumerate(OFFSETS):
                if 0 <= row + dy < height and 0 <= column + dx < width:
                    weight = probabilities[:, n, :, :, row, column]  # B h w
                    token = scores[:, :, row + dy, column + dx]  # B K
                    cell = painted[:, :, row * h : (row + 1) * h, column * w : (column + 1) * w]
                    cell += token[:, :, None, None] * weight[:, None]
    return painted
