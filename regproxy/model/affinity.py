"""The affinity head, which predicts which pixels belong to which token, and painting.

B batch, C width, K classes, H W token grid, h w sub-cells a token, n = 9 neighbours in row-major order of
their offsets (dy, dx) from (-1, -1) to (1, 1).
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

NEIGHBOURS = 9


class AffinityHead(nn.Module):
    """The probability of each sub-cell to belong to each of the 3 x 3 tokens around it (paper section 4.2).

    Layers by `conv` (supplement, Table 2): `depthwise` is 3x3 depth-wise, BN, ReLU, 1x1, BN, ReLU, 1x1;
    `normal` is 3x3, BN, ReLU, 1x1; `none` is 1x1.
    """

    def __init__(self, width: int, region: tuple[int, int], conv: str) -> None:
        super().__init__()
        self.region = region
        match conv:
            case "none":
                self.stem = nn.Identity()
            case "normal":
                self.stem = nn.Sequential(*_conv_bn_relu(width, kernel=3))
            case "depthwise":
                spatial = _conv_bn_relu(width, kernel=3, groups=width)
                self.stem = nn.Sequential(*spatial, *_conv_bn_relu(width, kernel=1))
            case _:
                raise ValueError(f"conv {conv!r} is invalid: expected none, normal or depthwise")
        self.out = Pointwise(width, NEIGHBOURS * region[0] * region[1], 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the affinity (B, 9, h, w, H, W) of early tokens (B, C, H, W), in float32 or more precise.

        It sums to 1 over the neighbours and is exactly 0 for neighbours outside the image.
        """
        # Channels last is the memory order in which painting reads the affinity.
        features = features.contiguous(memory_format=torch.channels_last)
        scores = self.out(self.stem(features))  # B (n h w) H W
        height, width = self.region
        scores = rearrange(scores, "B (n h w) H W -> B H W n h w", n=NEIGHBOURS, h=height, w=width)
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        outside = outside_neighbours(*features.shape[2:], device=scores.device)
        outside = rearrange(outside, "n H W -> H W n 1 1")
        affinity = scores.masked_fill(outside, float("-inf")).softmax(dim=3)
        return rearrange(affinity, "B H W n h w -> B n h w H W")


class Pointwise(nn.Conv2d):
    """A 1x1 convolution, computed as a matrix product, which is faster on channels-last features."""

    def forward(self, features: Tensor) -> Tensor:
        weight = self.weight[:, :, 0, 0]
        return functional.linear(features.permute(0, 2, 3, 1), weight, self.bias).permute(0, 3, 1, 2)


def outside_neighbours(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """Return which neighbours of each token are outside an H x W grid, bool (9, H, W)."""
    inside = torch.zeros(height, width, dtype=torch.bool, device=device)
    framed = functional.pad(inside, (1, 1, 1, 1), value=True)
    return rearrange(framed.unfold(0, 3, 1).unfold(1, 3, 1), "H W dy dx -> (dy dx) H W")


def paint(affinity: Tensor, token_logits: Tensor) -> Tensor:
    """Return the logits of all sub-cells: token logits weighted by affinity (section 4.3, Algorithm 1).

    Args:
        affinity: (B, 9, h, w, H, W), non-negative, sums to 1 over dim 1.
        token_logits: (B, K, H, W).

    Returns:
        (B, K, H h, W w): for each sub-cell a convex combination of the logits of the tokens around it.

    Raises:
        ValueError: the shapes do not fit together.
    """
    expected = (token_logits.shape[0], NEIGHBOURS, *token_logits.shape[2:])  # B n H W
    given = affinity.shape[:2] + affinity.shape[4:]
    if affinity.ndim != 6 or token_logits.ndim != 4 or given != expected:
        raise ValueError(
            f"paint expects affinity (B, 9, h, w, H, W) and token logits (B, K, H, W) of one batch size and "
            f"token grid; got {tuple(affinity.shape)} and {tuple(token_logits.shape)}"
        )
    batch, _, height, width, rows, columns = affinity.shape
    neighbours = functional.unfold(token_logits, kernel_size=3, padding=1)  # B (K n) (H W)
    neighbours = rearrange(neighbours, "B (K n) L -> (B L) K n", n=NEIGHBOURS)
    weights = rearrange(affinity.to(token_logits.dtype), "B n h w H W -> (B H W) n (h w)")
    painted = neighbours @ weights  # (B H W) K (h w)
    return rearrange(
        painted, "(B H W) K (h w) -> B K (H h) (W w)", B=batch, H=rows, W=columns, h=height, w=width
    )


def _conv_bn_relu(width: int, *, kernel: int, groups: int = 1) -> tuple[nn.Module, ...]:
    kind = Pointwise if kernel == 1 else nn.Conv2d
    conv = kind(width, width, kernel, padding=kernel // 2, groups=groups, bias=False)
    return conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)
