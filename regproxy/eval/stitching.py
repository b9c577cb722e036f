"""Logits of any part of an image from those of overlapping windows, without full-size logits.

Upsampling a window, averaging windows and resizing to the image's own size are linear and separable. So the
logits of a block of the image are A S B^T for every class. S holds the windows' own small logits, side by
side; each row of A (or B) holds the weights that one row (or column) of the block gives to the lines of S.
The weights are few, so a tile of the block needs only a few lines of S.

K classes, X Y the image, x y a block or tile of it, R C rows and columns of S, r c those that a tile needs.
view: the image at one scale, flipped or not. line: a row or a column. block: a part of the image whose S is
held at once, nearly always the whole image. tile: a part of a block whose logits are held at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import torch
from torch import Tensor

from regproxy.model.interpolation import bilinear_matrix, parts, source_lines, whole_patches

_BLOCK_ELEMENTS = {"cpu": 2**26, "cuda": 2**30}  # the most elements of S at once, over all views
_TILE_ELEMENTS = {"cpu": 2**20, "cuda": 2**25}  # the most elements of a tile, and of A S for its rows
_TILE_SIDE = {"cpu": 64, "cuda": 1024}  # the most rows and columns of a tile
_MIN_BLOCK_LINES, _MAX_BLOCK_LINES = 64, 2048  # blocks of at most 64 lines are not divided further


@dataclass(frozen=True)
class BlockLogits:
    """The logits of a block in one view: `windows` is S (R, K, C), `rows` A (x, R) and `columns` B (y, C).

    With the classes between rows and columns, both products with S are large matrix products.
    """

    windows: Tensor
    rows: Tensor
    columns: Tensor


@dataclass(frozen=True)
class _Part:
    """Some lines of a block, the indices of the lines of S that they need, and their weights (x, r)."""

    lines: slice
    needed: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Segment:
    """What a window contributes to a block along one axis.

    `start` is the window's first line in the rescaled image. `lines` are the lines it contributes, counted
    from its first line, and `in_needed` the same lines, counted from the first that the block needs. `logits`
    are the lines of its logits that they are interpolated from, and `in_stitched` the lines of S that hold
    these.
    """

    start: int
    lines: range
    in_needed: slice
    logits: slice
    in_stitched: slice


@dataclass(frozen=True)
class Axis:
    """One axis of a view: `size` lines of the image are rescaled to `rescaled` lines and cut into windows.

    In a flipped view the image's last line is the view's first. `patch` is the side of a token in lines.
    """

    size: int
    rescaled: int
    window: int
    stride: int
    flipped: bool = False
    patch: int = 1

    @property
    def covered(self) -> int:
        """The number of lines that a window's logits cover: the window, padded to whole patches."""
        return whole_patches(self.window, self.patch)

    def in_view(self, lines: range) -> range:
        """Return the numbers that lines of the image have in this view."""
        return range(self.size - lines.stop, self.size - lines.start) if self.flipped else lines

    def rescaled_lines(self, lines: range) -> range:
        """Return the lines of the rescaled image that lines of the image are interpolated from."""
        return source_lines(self.rescaled, self.size, self.in_view(lines))

    def segments(self, lines: range, logit_lines: int) -> list[Segment]:
        """Return the segments of all windows that cover lines of the image.

        Args:
            logit_lines: the number of lines of a window's logits.
        """
        needed, found, offset = self.rescaled_lines(lines), [], 0
        for start in window_starts(self.rescaled, self.window, self.stride):
            first, stop = max(needed.start, start), min(needed.stop, start + self.window)
            if first < stop:
                own = range(first - start, stop - start)
                in_needed = slice(first - needed.start, stop - needed.start)
                logits = source_lines(logit_lines, self.covered, own)
                in_stitched = slice(offset, offset + len(logits))
                found.append(Segment(start, own, in_needed, slice(logits.start, logits.stop), in_stitched))
                offset = in_stitched.stop
        return found


@lru_cache(maxsize=64)  # the images of a data set have few sizes
def stitching_matrix(axis: Axis, lines: range, logit_lines: int) -> Tensor:
    """Return A or B for a block's `lines`, float32 (x, R): the weights of the windows' logits, by segment."""
    needed, segments = axis.rescaled_lines(lines), axis.segments(lines, logit_lines)
    resize = bilinear_matrix(axis.rescaled, axis.size, axis.in_view(lines), needed)
    num_windows = torch.zeros(len(needed), dtype=torch.float64)  # over each line
    for part in segments:
        num_windows[part.in_needed] += 1
    pieces = [
        (resize[:, part.in_needed] / num_windows[part.in_needed])
        @ bilinear_matrix(logit_lines, axis.covered, part.lines, range(part.logits.start, part.logits.stop))
        for part in segments
    ]
    matrix = torch.cat(pieces, dim=1).float()
    return matrix.flip(0) if axis.flipped else matrix


def window_starts(size: int, window: int, stride: int) -> list[int]:
    """Return the first line of each window so that they cover `size` lines; the last is moved inside."""
    last = max(size - window, 0)
    return [*range(0, last, stride), last]


def tiles(views: Sequence[BlockLogits]) -> Iterator[tuple[slice, slice, list[Tensor]]]:
    """Yield the tiles of a block: rows, columns, and the logits (x, K, y) in each view, of bounded size.

    Args:
        views: the block's logits in every view.
    """
    kind, num_classes = views[0].windows.device.type, views[0].windows.shape[1]
    side = _TILE_SIDE.get(kind, 64)
    widest = max(side, *(view.windows.shape[2] for view in views))
    height = min(side, max(_TILE_ELEMENTS.get(kind, 2**20) // (num_classes * widest), 1))
    columns = list(zip(*(_parts(view.columns, side) for view in views), strict=True))
    for rows in zip(*(_parts(view.rows, height) for view in views), strict=True):
        strips = [  # (x K) C each
            (row.weights @ view.windows[row.needed].flatten(1)).view(-1, view.windows.shape[2])
            for row, view in zip(rows, views, strict=True)
        ]
        for places in columns:
            pairs = zip(strips, places, strict=True)
            logits = [strip.index_select(1, place.needed) @ place.weights.T for strip, place in pairs]
            yield rows[0].lines, places[0].lines, [one.unflatten(0, (-1, num_classes)) for one in logits]


def largest(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Return the largest score of each pixel and its class, the first of equal ones, from scores (x, K, y).

    On the CPU, where `Tensor.max` is slow for few classes, NumPy finds the class.
    """
    if scores.device.type != "cpu":
        return scores.max(dim=1)
    best, num_classes = scores.amax(dim=1, keepdim=True), scores.shape[1]
    codes = np.arange(num_classes, 0, -1, dtype=np.uint8 if num_classes < 256 else np.int16)[:, None]
    found = ((scores.numpy() == best.numpy()) * codes).max(axis=1)
    return best[:, 0], torch.from_numpy(num_classes - found.clip(1))  # NaN equals nothing: the last class


def _parts(matrix: Tensor, length: int) -> list[_Part]:
    """Return the lines of A or B in parts of at most `length` lines."""
    found = []
    for part in parts(len(matrix), length):
        needed = torch.nonzero(matrix[part].any(dim=0))[:, 0]
        found.append(_Part(part, needed, matrix[part][:, needed]))
    return found


def blocks(
    views: Sequence[tuple[Axis, Axis]], logits_shape: tuple[int, int, int], device: torch.device
) -> list[tuple[range, range]]:
    """Return the blocks (rows, columns) of an image: as few as keep the memory for window logits bounded.

    There is nearly always one. A window that reaches into several blocks is predicted for each of them.

    Args:
        views: the axes of each view of the image.
        logits_shape: (K, rows, columns) of one window.
    """
    limit = _BLOCK_ELEMENTS.get(device.type, 2**26)
    counts = [-(-axis.size // _MAX_BLOCK_LINES) for axis in views[0]]
    while True:
        rows, columns = (
            [range(part.start, part.stop) for part in parts(axis.size, -(-axis.size // count))]
            for axis, count in zip(views[0], counts, strict=True)
        )
        elements = [_max_elements(view, (rows, columns), logits_shape) for view in views]
        if sum(elements) <= limit or max(len(rows[0]), len(columns[0])) <= _MIN_BLOCK_LINES:
            return list(product(rows, columns))
        counts[len(columns[0]) > len(rows[0])] += 1


def _max_elements(
    view: tuple[Axis, Axis], parts: tuple[list[range], list[range]], logits_shape: tuple[int, int, int]
) -> int:
    """Return how many elements of S the largest of some blocks needs in a view."""
    rows, columns = (
        max(axis.segments(lines, logit_lines)[-1].in_stitched.stop for lines in ranges)
        for axis, ranges, logit_lines in zip(view, parts, logits_shape[1:], strict=True)
    )
    return rows * columns * logits_shape[0]
