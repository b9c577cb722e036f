"""Views of an image: the image at one scale, flipped or not, and the logits of its windows.

K classes, X Y the image's own size, X' Y' its size after rescaling. Corners are the (top, left) pixel of
windows in the rescaled image.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import product

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import normalise
from regproxy.eval.stitching import Axis, BlockLogits, stitching_matrix

Observer = Callable[[list[tuple[int, int]], Tensor], None]

_PIXELS_AT_ONCE = {"cpu": 2**19, "cuda": 2**23}  # the most pixels of windows in one forward pass


@dataclass
class View:
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


def view_of(
    model: nn.Module,
    image: np.ndarray,
    scale: tuple[int, int],
    evaluation: Evaluation,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    observe: Observer | None = None,
) -> View:
    """Return the view of an image (X, Y, 3) that is rescaled to fit `scale`, on the model's device."""
    size = rescaled_size(image.shape[:2], scale)
    patch = getattr(model, "patch", 1)  # a network without patches pads nothing
    sides = zip(image.shape[:2], size, evaluation.window, evaluation.stride, strict=True)
    axes = (Axis(*side, patch=patch) for side in sides)
    if size != image.shape[:2]:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    pixels = torch.from_numpy(np.ascontiguousarray(image)).to(next(model.parameters()).device)
    return View(model, pixels, tuple(axes), statistics, observe)


def scaled_views(
    model: nn.Module,
    image: np.ndarray,
    evaluation: Evaluation,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
) -> list[View]:
    """Return a view for each of the evaluation's ratios, and the same view flipped."""
    views = []
    for ratio in evaluation.multi_scale_ratios:
        scale = tuple(int(side * ratio + 0.5) for side in evaluation.scale)
        view = view_of(model, image, scale, evaluation, statistics)
        rows, columns = view.axes
        views += [view, replace(view, axes=(rows, replace(columns, flipped=True)))]
    return views
