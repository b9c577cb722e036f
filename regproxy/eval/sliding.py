"""Prediction of one image of any size: sliding windows over the rescaled image, with averaged logits.

K classes, X Y the image's own size, X' Y' its size after rescaling, B windows at a time. Corners are the
(top, left) pixel of windows in the rescaled image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import normalise
from regproxy.eval.stitching import Axis, BlockLogits, blocks, largest, stitching_matrix, tiles

Observer = Callable[[list[tuple[int, int]], Tensor], None]

_PIXELS_AT_ONCE = {"cpu": 2**19, "cuda": 2**23}  # the most pixels of windows in one forward pass


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
    """Return the class of every pixel: uint8 or int16 (X, Y), at the image's own resolution.

    The windows' logits are averaged and resized to the image. Full-size logits are never held.

    Args:
        model: in eval mode, on any device.
        image: (X, Y, 3) uint8 RGB.
        evaluation: scale, window and stride.
        mean, std: the normalisation of the training, RGB, 0..255.
        observe: called with the corners and the affinity of each batch of windows, once for each window;
            only for a network that returns an affinity.
    """
    view = _view(model, image, evaluation.scale, evaluation, (mean, std), observe)
    return _classes([view])


@torch.inference_mode()
def predict_multi_scale(
    model: nn.Module,
    image: np.ndarray,
    *,
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> np.ndarray:
    """Return the class of every pixel from several scales, each with and without a flip: as from `predict`.

    The softmax of every scale and flip is averaged at the image's own resolution.

    Args:
        model: in eval mode, on any device.
        image: (X, Y, 3) uint8 RGB.
        evaluation: scale, its `multi_scale_ratios`, window and stride.
        mean, std: the normalisation of the training, RGB, 0..255.
    """
    return _classes(_scaled_views(model, image, evaluation, (mean, std)))


@torch.inference_mode()
def predict_with_confidence(
    model: nn.Module,
    image: np.ndarray,
    *,
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    multi_scale: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class of every pixel and its probability, float32 (X, Y) in 0..1.

    The classes equal those of `predict`, or of `predict_multi_scale` if `multi_scale` is set. The other
    arguments are theirs.
    """
    statistics = (mean, std)
    if multi_scale:
        views = _scaled_views(model, image, evaluation, statistics)
    else:
        views = [_view(model, image, evaluation.scale, evaluation, statistics)]
    confidence = np.empty(image.shape[:2], np.float32)
    return _classes(views, confidence), confidence


@dataclass
class _View:
    """An image at one scale, flipped or not, and the model that predicts its windows.

    `pixels` are (X', Y', 3) uint8 and not flipped. `statistics` are the mean and std of the normalisation.
    `observed` are the corners of the windows that were given to `observe`.
    """

    model: nn.Module
    pixels: Tensor
    axes: tuple[Axis, Axis]
    statistics: tuple[tuple[float, ...], tuple[float, ...]]
    observe: Observer | None = None
    observed: set[tuple[int, int]] = field(default_factory=set)

    def block(self, lines: tuple[range, range], logits_shape: tuple[int, int, int]) -> BlockLogits:
        """Return the logits of a block of the image, given by its rows and columns."""
        device, (num_classes, *sizes) = self.pixels.device, logits_shape
        per_axis = list(zip(self.axes, lines, sizes, strict=True))
        rows, columns = (stitching_matrix(*arguments).to(device) for arguments in per_axis)
        stitched = torch.empty(rows.shape[1], num_classes, columns.shape[1], device=device)
        windows = list(product(*(axis.segments(own, size) for axis, own, size in per_axis)))
        limit = _PIXELS_AT_ONCE.get(device.type, 2**19)
        batch_size = max(limit // math.prod(axis.window for axis in self.axes), 1)
        images = self._input()
        for first in range(0, len(windows), batch_size):
            batch = windows[first : first + batch_size]
            logits = self._run(images, [(row.start, column.start) for row, column in batch])
            for window, (row, column) in zip(logits, batch, strict=True):
                needed = window[:, row.logits, column.logits]
                stitched[row.in_stitched, :, column.in_stitched].copy_(needed.transpose(0, 1))
            del logits  # with small regions there is no memory for the logits of two batches
        return BlockLogits(stitched, rows, columns)

    def _run(self, images: Tensor, corners: list[tuple[int, int]]) -> Tensor:
        """Return the logits of the windows of (1, 3, X', Y') at `corners`. Call `observe` with new ones."""
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
        """Return the normalised view (1, 3, X', Y'), padded with 0 at the bottom and right to a window."""
        images = normalise(self.pixels[None], *self.statistics)
        images = images.flip(3) if self.axes[1].flipped else images
        bottom, right = (max(axis.window - axis.rescaled, 0) for axis in self.axes)
        return functional.pad(images, (0, right, 0, bottom))


def _view(
    model: nn.Module,
    image: np.ndarray,
    scale: tuple[int, int],
    evaluation: Evaluation,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    observe: Observer | None = None,
) -> _View:
    """Return the view of an image (X, Y, 3) that is rescaled to fit `scale`, on the model's device."""
    size = rescaled_size(image.shape[:2], scale)
    axes = map(Axis, image.shape[:2], size, evaluation.window, evaluation.stride)
    if size != image.shape[:2]:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(next(model.parameters()).device)
    return _View(model, pixels, tuple(axes), statistics, observe)


def _scaled_views(
    model: nn.Module,
    image: np.ndarray,
    evaluation: Evaluation,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
) -> list[_View]:
    """Return a view for each of the evaluation's ratios, and the same view flipped."""
    views = []
    for ratio in evaluation.multi_scale_ratios:
        scale = tuple(int(side * ratio + 0.5) for side in evaluation.scale)
        view = _view(model, image, scale, evaluation, statistics)
        rows, columns = view.axes
        views += [view, replace(view, axes=(rows, replace(columns, flipped=True)))]
    return views


def _classes(views: list[_View], confidence: np.ndarray | None = None) -> np.ndarray:
    """Return the best class of every pixel, (X, Y), and write its probability to `confidence` if given.

    The class of one view has the largest logit, that of several views the largest mean of their softmax.
    """
    size, device = tuple(axis.size for axis in views[0].axes), views[0].pixels.device
    shape = _logits_shape(views[0].model, tuple(axis.window for axis in views[0].axes))
    prediction = torch.empty(size, dtype=torch.uint8 if shape[0] <= 256 else torch.int16, device=device)
    for rows, columns in blocks([view.axes for view in views], shape, device):
        logits = [view.block((rows, columns), shape) for view in views]
        block = prediction[rows.start : rows.stop, columns.start : columns.stop]
        for *tile, scores in tiles(logits):
            if len(scores) > 1:
                scores = [sum(one.softmax(dim=1) for one in scores)]
            best, classes = largest(scores[0])
            block[tuple(tile)] = classes
            if confidence is not None:
                several = len(views) > 1
                best = best / len(views) if several else (best - scores[0].logsumexp(dim=1)).exp()
                confidence[rows.start : rows.stop, columns.start : columns.stop][tuple(tile)] = (
                    best.cpu().numpy()
                )
    return prediction.cpu().numpy()


@lru_cache(maxsize=1)  # one network predicts many images
def _logits_shape(model: nn.Module, window: tuple[int, int]) -> tuple[int, int, int]:
    """Return the shape (K, rows, columns) of a window's logits by running the model on one window."""
    return tuple(model(torch.zeros(1, 3, *window, device=next(model.parameters()).device)).shape[1:])
