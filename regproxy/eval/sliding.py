"""Prediction of one image of any size: sliding windows over the rescaled image, logits averaged.

K classes, X Y the image's own size, X' Y' its size after rescaling, B windows at a time.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import accumulate, product

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import normalise
from regproxy.eval.stitching import Axis, WindowLogits, axis_part, blocks, tiles

Observer = Callable[[list[tuple[int, int]], Tensor], None]

_PIXELS_AT_ONCE = {"cpu": 2**19, "cuda": 2**23}  # of windows in the model


@torch.inference_mode()
def predict(
    model: nn.Module,
    image: np.ndarray,
    *,
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    observe: Observer | None = None,
) -> np.ndarray:
    """Returns the class of every pixel: uint8 or int16 (X, Y), at the image's own resolution.

    Windows' logits are averaged, resized to the image and compared; no full-size logits are ever held.

    Args:
        model: in eval mode, on any device.
        image: (X, Y, 3) uint8 RGB.
        evaluation: scale, window and stride, single scale.
        mean, std: of the training's normalisation, RGB, 0..255.
        observe: called with the (top, left) corners in the rescaled image and the affinity of each batch of
            windows; only for a network that has one.
    """
    view = _view(model, image, evaluation.scale, evaluation, mean, std, observe=observe)
    return _classes([view], lambda parts: parts[0])


@torch.inference_mode()
def predict_multi_scale(
    model: nn.Module,
    image: np.ndarray,
    *,
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> np.ndarray:
    """Returns the class of every pixel from all `evaluation.multi_scale_ratios`, each with and without flip.

    The softmax of each, at the image's own resolution, is averaged. Otherwise as `predict`.
    """
    views = [
        _view(
            model, image, tuple(int(side * ratio + 0.5) for side in evaluation.scale), evaluation, mean, std
        )
        for ratio in evaluation.multi_scale_ratios
    ]
    views = [one for view in views for one in (view, view.mirrored())]
    return _classes(views, lambda parts: sum(part.softmax(dim=-1) for part in parts))


@dataclass
class _View:
    """One scale of an image, mirrored or not: runs the model on the windows that a block of the image needs.

    `pixels` are (X', Y', 3) uint8, `observed` the windows that `observe` has been told of.
    """

    model: nn.Module
    pixels: Tensor
    axes: tuple[Axis, Axis]
    statistics: tuple[tuple[float, ...], tuple[float, ...]]
    observe: Observer | None = None
    observed: set[tuple[int, int]] = field(default_factory=set)

    def mirrored(self) -> "_View":
        rows, columns = self.axes
        return replace(self, axes=(rows, replace(columns, mirrored=True)), observed=set())

    def logits_shape(self) -> tuple[int, int, int]:
        """Returns the (K, rows, columns) of one window's logits, by running the model on no window at all."""
        nothing = torch.empty(0, 3, *(axis.window for axis in self.axes), device=self.pixels.device)
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels need not take empty batches
            return tuple(self.model(nothing).shape[1:])

    def block(self, parts: tuple[range, range], logits_shape: tuple[int, int, int]) -> WindowLogits:
        """Returns what a block of the image, its rows and columns, needs of the windows that cover it."""
        pieces = [axis_part(*each) for each in zip(self.axes, parts, logits_shape[1:], strict=True)]
        matrices = [piece.matrix.to(self.pixels.device) for piece in pieces]
        scores = torch.empty(
            *(matrix.shape[1] for matrix in matrices), logits_shape[0], device=self.pixels.device
        )
        places = product(*(_places(piece.spans) for piece in pieces))
        images = self._input()
        tops, lefts = (
            [axis.starts[number] for number in axis.windows(part)]
            for axis, part in zip(self.axes, parts, strict=True)
        )
        for corners in self._batches(list(product(tops, lefts))):
            logits = self._run(images, corners)
            for index in range(len(corners)):
                (rows, own_rows), (columns, own_columns) = next(places)
                scores[rows, columns].copy_(logits[index, :, own_rows, own_columns].permute(1, 2, 0))
            del logits  # there is no room for those of two batches where regions are small
        return WindowLogits(scores, *matrices)

    def _batches(self, corners: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
        """Yields windows by their (top, left) corners, as many as the model takes at a time."""
        limit = _PIXELS_AT_ONCE.get(self.pixels.device.type, 2**19)
        at_once = max(limit // math.prod(axis.window for axis in self.axes), 1)
        for first in range(0, len(corners), at_once):
            yield corners[first : first + at_once]

    def _run(self, images: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """Returns the logits of some windows of (1, 3, X', Y'), and tells `observe` of new ones."""
        height, width = (axis.window for axis in self.axes)
        windows = torch.cat([images[..., y : y + height, x : x + width] for y, x in corners])
        if self.observe is None:
            return self.model(windows)
        logits, affinity = self.model(windows, return_affinity=True)
        new = [index for index, corner in enumerate(corners) if corner not in self.observed]
        if new:
            self.observe([corners[index] for index in new], affinity[new])
            self.observed.update(corners)
        return logits

    def _input(self) -> Tensor:
        """Returns the view normalised, (1, 3, X', Y'), at least as large as a window.

        What is missing at the bottom and right is filled up with 0, the mean colour.
        """
        images = normalise(self.pixels[None], *self.statistics)
        if self.axes[1].mirrored:
            images = images.flip(3)
        bottom, right = (max(axis.window - axis.rescaled, 0) for axis in self.axes)
        return functional.pad(images, (0, right, 0, bottom)) if bottom or right else images


def _places(spans: tuple[tuple[int, int], ...]) -> list[tuple[slice, slice]]:
    """Returns for each window where its lines stand among those of all, and where in its own logits."""
    ends = accumulate(end - first for first, end in spans)
    return [
        (slice(stop - (end - first), stop), slice(first, end))
        for stop, (first, end) in zip(ends, spans, strict=True)
    ]


def _view(
    model: nn.Module,
    image: np.ndarray,
    scale: tuple[int, int],
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    observe: Observer | None = None,
) -> _View:
    """Returns the view of an image (X, Y, 3) rescaled into `scale`, on the model's device."""
    size = rescaled_size(image.shape[:2], scale)
    pixels = (
        image if size == image.shape[:2] else cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    )
    axes = map(Axis, image.shape[:2], size, evaluation.window, evaluation.stride)
    device = next(model.parameters()).device
    return _View(
        model, torch.from_numpy(np.ascontiguousarray(pixels)).to(device), tuple(axes), (mean, std), observe
    )


def _classes(views: list[_View], join: Callable[[list[Tensor]], Tensor]) -> np.ndarray:
    """Returns the best class of every pixel, (X, Y), from what `join` makes of the views, tile by tile."""
    size, device = tuple(axis.side for axis in views[0].axes), views[0].pixels.device
    shape = views[0].logits_shape()
    prediction = torch.empty(size, dtype=torch.uint8 if shape[0] <= 256 else torch.int16, device=device)
    for rows, columns in blocks([view.axes for view in views], shape, device):
        logits = [view.block((rows, columns), shape) for view in views]
        place = prediction[rows.start : rows.stop, columns.start : columns.stop]
        for tile in tiles(place.shape, shape[0], device):
            best = join([part.tile(*tile) for part in logits]).max(dim=-1).indices
            place[tile] = best.to(prediction.dtype)
    return prediction.cpu().numpy()
