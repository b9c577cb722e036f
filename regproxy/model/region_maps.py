"""Regions as maps: how likely each sub-cell belongs to one token, and which token each belongs to most.

B batch, H W token grid, h w sub-cells a token, n = 9 neighbours in row-major order of their offsets (dy, dx)
from (-1, -1) to (1, 1). Index n of a sub-cell's affinity points from its own token to the neighbour.
"""

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional


def heat_map(affinity: Tensor, row: int, column: int) -> Tensor:
    """Return the region of one token: the probability of each sub-cell around it to belong to it (3 h, 3 w).

    These are the probabilities q_s(p) of the supplement's Eq. 5, as its Figure 1 shows them. The map covers
    the 3 x 3 tokens around the token and is 0 outside the grid. At each sub-cell the maps of all tokens sum
    to 1.

    Args:
        affinity: (9, h, w, H, W) of one image, as `AffinityHead` returns it.
        row, column: the token's place in the grid, from 0.

    Raises:
        ValueError: the token is outside the grid.
    """
    rows, columns = affinity.shape[3:]
    if not (0 <= row < rows and 0 <= column < columns):
        raise ValueError(f"token {row},{column} is outside the grid of {rows} x {columns} tokens")
    framed = functional.pad(affinity, (1, 1, 1, 1))
    around = framed[..., row : row + 3, column : column + 3].flatten(3)  # n h w (dy dx)
    # A neighbour at (dy, dx) sees the token at (-dy, -dx), so its index n is counted from the other end.
    own = around.flip(0).diagonal(dim1=0, dim2=3)  # h w (dy dx)
    return rearrange(own, "h w (dy dx) -> (dy h) (dx w)", dy=3)


def region_ids(affinity: Tensor) -> Tensor:
    """Return the token that each sub-cell belongs to most, int64 (B, H h, W w): token row * W + column.

    Args:
        affinity: (B, 9, h, w, H, W), as `AffinityHead` returns it.
    """
    rows, columns = affinity.shape[4:]
    neighbour = affinity.argmax(dim=1)  # B h w H W
    row, column = (torch.arange(length, device=affinity.device) for length in (rows, columns))
    row = row[:, None] + neighbour // 3 - 1
    column = column + neighbour % 3 - 1
    return rearrange(row * columns + column, "B h w H W -> B (H h) (W w)")
