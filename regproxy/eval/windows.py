"""From the logits of overlapping windows to any part of the image, without the image's full-size logits.

Upsampling a window, averaging windows and resizing to the original size are all linear and separable. So the
logits of the image are A S B^T for every class: S holds the windows' own small logits side by side, A and B
say for each row and column of the image what it takes from which of theirs. Each line of A and B has a few
entries only, and a tile of the image needs a few rows and columns of S only.

K classes, X Y the image, X' Y' the rescaled image, R C rows and columns of all windows' logits together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_TILE_ELEMENTS = {"cpu": 2**20, "cuda": 2**25}  # logits of a tile held at a time
_TILE_COLUMNS = {"cpu": 128, "cuda": 1024}


@dataclass(frozen=True)
class WindowLogits:
    """The logits of all windows of one view of an image.

    `scores` are S, (R, C, K) float32; `rows` and `columns` are A (X, R) and B (Y, C).
    """

    scores: Tensor
    rows: Tensor
    columns: Tensor

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """Returns the logits of a tile of the image: (x, y, K)."""
        a, b = self.rows[rows], self.columns[columns]
        used = [torch.nonzero(part.any(dim=0))[:, 0] for part in (a, b)]
        scores = self.scores[used[0][:, None], used[1]]  # r c K
        mixed = (a[:, used[0]] @ scores.flatten(1)).view(len(a), *scores.shape[1:])  # x c K
        return b[:, used[1]] @ mixed  # x y K


def starts(side: int, window: int, stride: int) -> list[int]:
    """Returns where windows begin along one axis so that they cover it; the last is moved inside."""
    return [
        min(step * stride, max(side - window, 0)) for step in range(max(-(-(side - window) // stride), 0) + 1)
    ]


@lru_cache(maxsize=32)  # images of a data set share a few sizes
def axis_matrix(side: int, rescaled: int, window: int, stride: int, logits: int) -> Tensor:
    """Returns A or B: what each of `side` lines of the image takes from the windows' lines, float32.

    Args:
        side: of the image, in pixels; `rescaled` of the image that the windows were cut from.
        window, stride: in pixels of the rescaled image.
        logits: lines of one window's logits.
    """
    begins = starts(rescaled, window, stride)
    upsampling = bilinear(logits, window)
    parts = torch.zeros(len(begins), max(rescaled, window), logits, dtype=torch.float64)
    for part, begin in zip(parts, begins, strict=True):
        part[begin : begin + window] = upsampling
    parts = parts[:, :rescaled]
    cover = torch.zeros(rescaled, dtype=torch.float64)
    for begin in begins:
        cover[begin : begin + window] += 1
    averaged = torch.cat(list(parts), dim=1) / cover[:, None]  # X' R
    return (bilinear(rescaled, side) @ averaged).float()


def bilinear(size_in: int, size_out: int) -> Tensor:
    """Returns bilinear interpolation along one axis, align_corners False: float64 (size_out, size_in)."""
    if size_in == size_out:
        return torch.eye(size_in, dtype=torch.float64)
    place = (torch.arange(size_out, dtype=torch.float64) + 0.5) * (size_in / size_out) - 0.5
    place = place.clamp(0, size_in - 1)
    low = place.long().clamp(max=max(size_in - 2, 0))
    matrix = torch.zeros(size_out, size_in, dtype=torch.float64)
    lines = torch.arange(size_out)
    matrix[lines, low] = 1 - (place - low)
    matrix[lines, (low + 1).clamp(max=size_in - 1)] += place - low
    return matrix


def tiles(size: tuple[int, int], num_classes: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yields the tiles (rows, columns) of an image of `size`, each with a bounded number of logits."""
    width = min(_TILE_COLUMNS.get(device.type, 128), size[1])
    height = max(_TILE_ELEMENTS.get(device.type, 2**20) // (num_classes * width), 1)
    for top in range(0, size[0], height):
        for left in range(0, size[1], width):
            yield slice(top, min(top + height, size[0])), slice(left, min(left + width, size[1]))
