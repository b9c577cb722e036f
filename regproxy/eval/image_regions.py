"""The regions and token classes of one image of any size, on one grid of tokens over the whole image.

K classes, X' Y' the image after rescaling, H W the token grid over it, h w sub-cells a token, n = 9
neighbours in row-major order of their offsets (dy, dx) from (-1, -1) to (1, 1).
"""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise, product

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import normalise
from regproxy.eval.stitching import window_starts
from regproxy.model.affinity import NEIGHBOURS
from regproxy.model.region_maps import heat_map, region_ids
from regproxy.model.regions import entropies, sub_cells
from regproxy.model.regproxy import RegProxy


@dataclass(frozen=True, eq=False)
class ImageRegions:
    """The regions of one image.

    `affinity` is float32 (9, h, w, H, W), `token_logits` float32 (K, H, W). `pixels` are the rescaled image,
    uint8 (X', Y', 3), and `patch` is the side of a token in its pixels. The grid starts at the image's top
    left. It may reach beyond the bottom and the right, where the network's input is padded.
    """

    affinity: np.ndarray
    token_logits: np.ndarray
    pixels: np.ndarray
    patch: int

    @property
    def grid(self) -> tuple[int, int]:
        """The number of token rows and columns, (H, W)."""
        return self.token_logits.shape[1:]

    @cached_property
    def classes(self) -> np.ndarray:
        """The class of each token, int64 (H, W)."""
        return self.token_logits.argmax(axis=0)

    @cached_property
    def entropy(self) -> np.ndarray:
        """The entropy of each token's softmax over the classes in nats, float64 (H, W)."""
        logits = torch.from_numpy(self.token_logits).double()
        return entropies(logits.softmax(dim=0)[None])[0].numpy()

    def pixel_ids(self, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return the token that each pixel belongs to most, int64: token row * W + column.

        A pixel has the sub-cell in which its centre lies.

        Args:
            size: (height, width) of the result, by default that of the rescaled image. With another size the
                pixels are those of the same image in that size.
        """
        ids = region_ids(torch.from_numpy(self.affinity)[None])[0].numpy()
        rows, columns = self._sub_cells(size)
        return ids[rows[:, None], columns]

    def heat(self, row: int, column: int, size: tuple[int, int] | None = None) -> np.ndarray:
        """Return the probability of each pixel to belong to a token, float32; 0 beyond its 3 x 3 neighbours.

        Arguments as in `heat_map` and `pixel_ids`.
        """
        heat = heat_map(torch.from_numpy(self.affinity), row, column).numpy()
        height, width = self.affinity.shape[1:3]
        rows, columns = self._sub_cells(size)
        rows, columns = rows - (row - 1) * height, columns - (column - 1) * width
        near = ((rows >= 0) & (rows < len(heat)))[:, None] & (columns >= 0) & (columns < heat.shape[1])
        nearest = heat[rows.clip(0, len(heat) - 1)[:, None], columns.clip(0, heat.shape[1] - 1)]
        return np.where(near, nearest, np.float32(0))

    def cell(self, row: int, column: int, size: tuple[int, int] | None = None) -> tuple[float, ...]:
        """Return (top, left, bottom, right) of a token's cell in pixels; `size` as in `pixel_ids`."""
        rescaled = self.pixels.shape[:2]
        step_y, step_x = (
            self.patch * length / own for length, own in zip(size or rescaled, rescaled, strict=True)
        )
        return row * step_y, column * step_x, (row + 1) * step_y, (column + 1) * step_x

    def _sub_cells(self, size: tuple[int, int] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the sub-cell row of each pixel row and the sub-cell column of each pixel column."""
        rescaled = self.pixels.shape[:2]
        per_axis = zip(size or rescaled, rescaled, self.affinity.shape[1:3], strict=True)
        rows, columns = (
            sub_cells(length, self.patch / divisions, scale=own / length).numpy()
            for length, own, divisions in per_axis
        )
        return rows, columns


@torch.inference_mode()
def image_regions(
    model: nn.Module,
    image: np.ndarray,
    *,
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> ImageRegions:
    """Return the regions of an image from windows of the evaluation's size, rescaled and padded as `predict`.

    The windows lie on whole tokens, and each token comes from the window in which it is most central. For
    this, windows overlap by at least two tokens, even if the evaluation's do not, and the last one ends with
    the image, rounded up to a token. An image that fits into one window has the regions of that window.

    In a network without regions each token's region is its own cell.

    Args:
        model: in eval mode, on any device.
        image: (X, Y, 3) uint8 RGB.
        evaluation: scale, window and stride.
        mean, std: the normalisation of the training, RGB, 0..255.
    """
    patch, device = model.patch, next(model.parameters()).device
    grid = token_grid(image.shape[:2], evaluation, patch)
    size = rescaled_size(image.shape[:2], evaluation.scale)
    if size != image.shape[:2]:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = torch.from_numpy(np.ascontiguousarray(image))
    bottom, right = (tokens * patch - side for tokens, side in zip(grid, size, strict=True))
    images = functional.pad(normalise(pixels[None].to(device), mean, std), (0, right, 0, bottom))
    height, width = (-(-side // patch) for side in evaluation.window)  # in tokens
    axes = map(_windows, grid, (height, width), (stride // patch for stride in evaluation.stride))
    affinity = token_logits = None
    for (top, rows, rows_inside), (left, columns, columns_inside) in product(*axes):
        window = images[..., top * patch : (top + height) * patch, left * patch : (left + width) * patch]
        given = [part[0].float().cpu() for part in _regions(model, window)]
        if affinity is None:
            affinity, token_logits = (part.new_empty(*part.shape[:-2], *grid) for part in given)
        for whole, part in zip((affinity, token_logits), given, strict=True):
            whole[..., rows, columns] = part[..., rows_inside, columns_inside]
    return ImageRegions(affinity.numpy(), token_logits.numpy(), pixels.numpy(), patch)


def token_grid(size: tuple[int, int], evaluation: Evaluation, patch: int) -> tuple[int, int]:
    """Return the grid (H, W) that `image_regions` gives an image of `size` (X, Y): at least one window."""
    rescaled = rescaled_size(size, evaluation.scale)
    height, width = (-(-max(pair) // patch) for pair in zip(rescaled, evaluation.window, strict=True))
    return height, width


def _windows(length: int, window: int, stride: int) -> list[tuple[int, slice, slice]]:
    """Return for each window along one axis its first token and the tokens that come from it, in tokens.

    These tokens are given in the grid and in the window. Each comes from the window whose centre is closest,
    the first of two.
    """
    starts = window_starts(length, window, max(min(stride, window - 2), 1))
    ends = [(one + following + window + 1) // 2 for one, following in pairwise(starts)]
    return [
        (start, slice(first, stop), slice(first - start, stop - start))
        for start, first, stop in zip(starts, [0, *ends], [*ends, length], strict=True)
    ]


def _regions(model: nn.Module, window: Tensor) -> tuple[Tensor, Tensor]:
    """Return the affinity (1, 9, h, w, H, W) and the token logits (1, K, H, W) of a window (1, 3, X, Y)."""
    if isinstance(model, RegProxy):
        return model.regions(window)
    token_logits = model(window)
    affinity = token_logits.new_zeros(1, NEIGHBOURS, 1, 1, *token_logits.shape[2:])
    affinity[:, NEIGHBOURS // 2] = 1
    return affinity, token_logits
