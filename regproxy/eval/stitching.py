"""From the logits of overlapping windows to any part of the image, without the image's full-size logits.

Upsampling a window, averaging windows and resizing to the original size are all linear and separable. So the
logits of a block of the image are A S B^T for every class: S holds what the block needs of the windows' own
small logits side by side, A and B say for each row and column of the block what it takes from which of them.
Each line of A and B has a few entries only, and a tile of the block needs a few rows and columns of S only.
A block is all of the image where its S is small enough, as it nearly always is.

K classes, X Y the image, X' Y' the rescaled image, x y a block or tile, R C rows and columns of S.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

_BLOCK_ELEMENTS = {"cpu": 2**26, "cuda": 2**30}  # of the windows' logits held at a time, over all views
_TILE_ELEMENTS = {"cpu": 2**20, "cuda": 2**25}  # logits of a tile held at a time
_SMALLEST, _LARGEST = 64, 2048  # lines of a block: not cut further below, always above
_TILE_COLUMNS = {"cpu": 128, "cuda": 1024}


@dataclass(frozen=True)
class WindowLogits:
    """What a block of the image needs of the logits of one view's windows.

    `scores` are S, (R, C, K) float32; `rows` and `columns` are A (x, R) and B (y, C).
    """

    scores: Tensor
    rows: Tensor
    columns: Tensor

    def tile(self, rows: slice, columns: slice) -> Tensor:
        """Returns the logits of a tile of the block: (x, y, K)."""
        a, b = self.rows[rows], self.columns[columns]
        used = [torch.nonzero(part.any(dim=0))[:, 0] for part in (a, b)]
        scores = self.scores[used[0][:, None], used[1]]  # r c K
        mixed = (a[:, used[0]] @ scores.flatten(1)).view(len(a), *scores.shape[1:])  # x c K
        return b[:, used[1]] @ mixed  # x y K


@dataclass(frozen=True)
class Axis:
    """One axis of a view: `side` lines of the image, `rescaled` to so many, cut into windows.

    In a mirrored view the image's first line is the last.
    """

    side: int
    rescaled: int
    window: int
    stride: int
    mirrored: bool = False

    @property
    def starts(self) -> list[int]:
        return starts(self.rescaled, self.window, self.stride)

    def place(self, part: range) -> range:
        """Returns some lines of the image, as the view numbers them."""
        return range(self.side - part.stop, self.side - part.start) if self.mirrored else part

    def lines(self, part: range) -> range:
        """Returns which lines of the rescaled image some lines of the image are interpolated between."""
        return taps(self.rescaled, self.side, self.place(part))

    def windows(self, part: range) -> list[int]:
        """Returns which windows, by number, cover these lines of the image."""
        lines = self.lines(part)
        return [
            number
            for number, start in enumerate(self.starts)
            if start < lines.stop and start + self.window > lines.start
        ]

    def spans(self, part: range, logits: int) -> list[tuple[range, range]]:
        """Returns for each of `windows` which lines of the rescaled image it gives, and from which logits.

        Both are numbered from the window's first line; `logits` are the lines of a window's logits.
        """
        lines, found = self.lines(part), []
        for number in self.windows(part):
            start = self.starts[number]
            given = range(max(lines.start - start, 0), min(lines.stop - start, self.window))
            found.append((given, taps(logits, self.window, given)))
        return found


@dataclass(frozen=True)
class AxisPart:
    """Some lines of an axis: what each takes, `matrix` (x, R), from `spans`, lines of the windows' logits.

    A span is (first, end) in the logits of a window; they are in the order of `Axis.windows`.
    """

    matrix: Tensor
    spans: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)  # images of a data set share a few sizes
def axis_part(axis: Axis, part: range, logits: int) -> AxisPart:
    """Returns what `part` of the image's lines takes, where a window has `logits` lines of logits."""
    lines, spans = axis.lines(part), axis.spans(part, logits)
    resize = bilinear(axis.rescaled, axis.side, axis.place(part), lines)
    places = [
        slice(axis.starts[number] + given.start - lines.start, axis.starts[number] + given.stop - lines.start)
        for number, (given, _) in zip(axis.windows(part), spans, strict=True)
    ]
    cover = torch.zeros(len(lines), dtype=torch.float64)
    for place in places:
        cover[place] += 1
    pieces = [
        (resize[:, place] / cover[place]) @ bilinear(logits, axis.window, given, used)
        for place, (given, used) in zip(places, spans, strict=True)
    ]
    matrix = torch.cat(pieces, dim=1).float()
    used = tuple((taken.start, taken.stop) for _, taken in spans)
    return AxisPart(matrix.flip(0) if axis.mirrored else matrix, used)


def starts(side: int, window: int, stride: int) -> list[int]:
    """Returns where windows begin along one axis so that they cover it; the last is moved inside."""
    return [
        min(step * stride, max(side - window, 0)) for step in range(max(-(-(side - window) // stride), 0) + 1)
    ]


def taps(size_in: int, size_out: int, part: range) -> range:
    """Returns which lines `part` of the output is interpolated between, perhaps one more at either end."""
    if size_in == size_out:
        return part
    low, high = (max((line + 0.5) * size_in / size_out - 0.5, 0.0) for line in (part[0], part[-1]))
    return range(min(int(max(low - 1e-9, 0.0)), size_in - 1), min(int(high + 1e-9) + 2, size_in))


def bilinear(size_in: int, size_out: int, part: range | None = None, lines: range | None = None) -> Tensor:
    """Returns bilinear interpolation along one axis, align_corners False: float64 (size_out, size_in).

    With `part` only those lines of the output, with `lines` only those of the input, which must hold `taps`.
    """
    part = range(size_out) if part is None else part
    lines = range(size_in) if lines is None else lines
    place = torch.arange(part.start, part.stop, dtype=torch.float64)
    if size_in != size_out:
        place = ((place + 0.5) * (size_in / size_out) - 0.5).clamp(0, size_in - 1)
    low = place.long()
    high = (low + 1).clamp(max=size_in - 1)
    matrix = torch.zeros(len(part), len(lines), dtype=torch.float64)
    rows = torch.arange(len(part))
    matrix[rows, low - lines.start] = 1 - (place - low)
    between = place > low  # elsewhere the next line may not even be among `lines`
    matrix[rows[between], high[between] - lines.start] += (place - low)[between]
    return matrix


def tiles(size: tuple[int, int], num_classes: int, device: torch.device) -> Iterator[tuple[slice, slice]]:
    """Yields the tiles (rows, columns) of a block of `size`, each with a bounded number of logits."""
    width = min(_TILE_COLUMNS.get(device.type, 128), size[1])
    height = max(_TILE_ELEMENTS.get(device.type, 2**20) // (num_classes * width), 1)
    for top in range(0, size[0], height):
        for left in range(0, size[1], width):
            yield slice(top, min(top + height, size[0])), slice(left, min(left + width, size[1]))


def blocks(
    views: Sequence[tuple[Axis, Axis]], logits_shape: tuple[int, int, int], device: torch.device
) -> list[tuple[range, range]]:
    """Cuts an image into as few blocks (rows, columns) as keep what they need of all views' logits bounded.

    One block is the rule. Windows that reach into several blocks are run for each of them.

    Args:
        views: the axes of each view of the image.
        logits_shape: (K, rows, columns) of one window.
    """
    limit = _BLOCK_ELEMENTS.get(device.type, 2**26)
    counts = [-(-axis.side // _LARGEST) for axis in views[0]]
    while True:
        parts = [_cut(axis.side, count) for axis, count in zip(views[0], counts, strict=True)]
        needs = [_need(view, parts, logits_shape) for view in views]
        if sum(needs) <= limit or all(len(part[0]) <= _SMALLEST for part in parts):
            return [(rows, columns) for rows in parts[0] for columns in parts[1]]
        counts[len(parts[1][0]) > len(parts[0][0])] += 1


def _cut(side: int, count: int) -> list[range]:
    step = -(-side // count)
    return [range(start, min(start + step, side)) for start in range(0, side, step)]


def _need(view: tuple[Axis, Axis], parts: list[list[range]], logits_shape: tuple[int, int, int]) -> int:
    """Returns how many elements the largest of the blocks needs of a view's logits."""
    lines = [
        max(sum(len(used) for _, used in axis.spans(part, logits)) for part in pieces)
        for axis, pieces, logits in zip(view, parts, logits_shape[1:], strict=True)
    ]
    return lines[0] * lines[1] * logits_shape[0]
