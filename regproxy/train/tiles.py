"""Bilinear interpolation of logits to the labels' size, one tile of labels at a time.

A tile's upsampled logits are a small matrix times a few columns of logits, then another times a few rows,
because bilinear interpolation is separable and local.

B batch, K classes, h w logit grid, H W label grid, R C a tile's labels, r c the logits they are interpolated
from.
"""

from itertools import product

import torch
from einops import rearrange
from torch import Tensor

from regproxy.model.interpolation import bilinear_matrix, source_lines, whole_patches

# The most upsampled logits in a tile, and its longest side in pixels. A CPU needs tiles that fit its cache,
# and small interpolation matrices, which grow with the side. An accelerator needs few and large steps.
_TILE_ELEMENTS, _TILE_SIDE = 2**19, 128
_DEVICE_TILE_ELEMENTS, _DEVICE_TILE_SIDE = 2**23, 512

Tile = tuple[slice, slice, slice]  # images, rows and columns of the labels


class Upsampling:
    """The interpolation of logits (B, K, h, w) to a label grid (H, W), as matrices.

    The logits cover H and W rounded up to whole patches. What they have beyond the labels is not used.
    """

    def __init__(self, logits: Tensor, size: tuple[int, int], patch: int) -> None:
        self._logits = logits
        covered = [whole_patches(side, patch) for side in size]
        self._rows, self._columns = zip(logits.shape[2:], covered, strict=True)
        self._row_matrix, self._column_matrix = (
            _matrix(*sizes, logits) for sizes in (self._rows, self._columns)
        )

    def upsample(self, tile: Tile) -> Tensor:
        """Return the logits of a tile's labels, (b, R, K, C)."""
        images, _, _ = tile
        source_rows, source_columns, row_part, column_part = self._parts(tile)
        source = rearrange(self._logits[images, :, source_rows, source_columns], "b k r c -> b r k c")
        return _interpolate(row_part, source.contiguous(), column_part)

    def add_gradient(self, gradient: Tensor, tile: Tile, tile_gradient: Tensor) -> None:
        """Add to the logits' gradient (B, K, h, w) what a tile's (b, R, K, C) gives to it."""
        images, _, _ = tile
        source_rows, source_columns, row_part, column_part = self._parts(tile)
        own = _interpolate(_transposed(row_part), tile_gradient, _transposed(column_part))
        gradient[images, :, source_rows, source_columns] += rearrange(own, "b r k c -> b k r c")

    def _parts(self, tile: Tile) -> tuple[slice, slice, Tensor | None, Tensor | None]:
        """Return the rows and columns of logits that a tile needs, and the matrices (R, r) and (C, c)."""
        _, rows, columns = tile
        source_rows, source_columns = _sources(rows, *self._rows), _sources(columns, *self._columns)
        row_part = None if self._row_matrix is None else self._row_matrix[rows, source_rows]
        column_part = None if self._column_matrix is None else self._column_matrix[columns, source_columns]
        return source_rows, source_columns, row_part, column_part


def label_tiles(label_shape: torch.Size, num_classes: int, device: torch.device) -> list[Tile]:
    """Return tiles (images, rows, columns) that cover labels (B, H, W) once, each of bounded size."""
    elements, side = (
        (_TILE_ELEMENTS, _TILE_SIDE) if device.type == "cpu" else (_DEVICE_TILE_ELEMENTS, _DEVICE_TILE_SIDE)
    )
    batch, height, width = label_shape
    columns = min(width, side)
    rows = min(max(elements // (num_classes * columns), 1), height, side)
    images = max(elements // (num_classes * columns * rows), 1)
    cuts = (
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in ((batch, images), (height, rows), (width, columns))
    )
    return list(product(*cuts))


def _matrix(size_in: int, size_out: int, like: Tensor) -> Tensor | None:
    """Return the interpolation matrix of one axis, (size_out, size_in), or None if the sizes are equal."""
    return None if size_in == size_out else bilinear_matrix(size_in, size_out, device=like.device).to(like)


def _sources(labels: slice, size_in: int, size_out: int) -> slice:
    """Return the logits along an axis that some labels' logits are interpolated from."""
    lines = source_lines(size_in, size_out, range(labels.start, labels.stop))
    return slice(lines.start, lines.stop)


def _interpolate(rows: Tensor | None, values: Tensor, columns: Tensor | None) -> Tensor:
    """Apply a matrix along the rows and one along the columns of (b, r, k, c); None changes nothing."""
    if columns is not None:
        values = values @ columns.T
    return values if rows is None else (rows @ values.flatten(2)).unflatten(2, values.shape[2:])


def _transposed(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.T
