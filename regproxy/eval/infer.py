"""Prediction of one image of any size: sliding windows over the rescaled image, logits averaged.

K classes, X Y the image's own size, X' Y' its size after rescaling, B windows at a time.
"""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import normalise
from regproxy.eval.windows import WindowLogits, axis_matrix, starts, tiles

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
    size = rescaled_size(image.shape[:2], evaluation.scale)
    logits = window_logits(
        model, _network_input(model, image, size, mean, std), image.shape[:2], evaluation, observe
    )
    return _classes([logits], image.shape[:2], lambda parts: parts[0])


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
    views = []
    for ratio in evaluation.multi_scale_ratios:
        scale = tuple(int(side * ratio + 0.5) for side in evaluation.scale)
        inputs = _network_input(model, image, rescaled_size(image.shape[:2], scale), mean, std)
        for flipped in (False, True):
            view = window_logits(model, inputs.flip(3) if flipped else inputs, image.shape[:2], evaluation)
            columns = view.columns.flip(0) if flipped else view.columns
            views.append(WindowLogits(view.scores, view.rows, columns))
    return _classes(views, image.shape[:2], lambda parts: sum(part.softmax(dim=-1) for part in parts))


def window_logits(
    model: nn.Module,
    images: Tensor,
    size: tuple[int, int],
    evaluation: Evaluation,
    observe: Observer | None = None,
) -> WindowLogits:
    """Runs the model on all windows of (1, 3, X', Y'), for an image of `size` (X, Y).

    Windows larger than the image are filled up with 0, the mean colour, at the bottom and right.
    """
    window, stride = evaluation.window, evaluation.stride
    rescaled = tuple(images.shape[2:])
    missing = [max(w - side, 0) for side, w in zip(rescaled, window, strict=True)]
    images = functional.pad(images, (0, missing[1], 0, missing[0]))
    tops, lefts = (starts(*axis) for axis in zip(rescaled, window, stride, strict=True))
    corners = [(top, left) for top in tops for left in lefts]
    at_once = max(_PIXELS_AT_ONCE.get(images.device.type, 2**19) // (window[0] * window[1]), 1)
    stitched = None
    for first in range(0, len(corners), at_once):
        batch = corners[first : first + at_once]
        views = torch.cat([images[..., y : y + window[0], x : x + window[1]] for y, x in batch])
        if observe is None:
            scores = model(views)
        else:
            scores, affinity = model(views, return_affinity=True)
            observe(batch, affinity)
        height, width = scores.shape[2:]
        if stitched is None:
            shape = (len(tops) * height, len(lefts) * width, scores.shape[1])
            stitched = torch.empty(shape, device=scores.device)
        for index, score in enumerate(scores, start=first):
            row, column = divmod(index, len(lefts))
            place = stitched[row * height : (row + 1) * height, column * width : (column + 1) * width]
            place.copy_(score.permute(1, 2, 0))
    axes = zip(size, rescaled, window, stride, (height, width), strict=True)
    return WindowLogits(stitched, *(axis_matrix(*axis).to(stitched.device) for axis in axes))


def _network_input(
    model: nn.Module,
    image: np.ndarray,
    size: tuple[int, int],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Tensor:
    """Returns the image resized to `size` (X', Y') and normalised: (1, 3, X', Y') on the model's device."""
    if size != image.shape[:2]:
        image = cv2.resize(image, size[::-1], interpolation=cv2.INTER_LINEAR)
    device = next(model.parameters()).device
    return normalise(torch.from_numpy(np.ascontiguousarray(image))[None].to(device), mean, std)


def _classes(
    views: list[WindowLogits], size: tuple[int, int], join: Callable[[list[Tensor]], Tensor]
) -> np.ndarray:
    """Returns the best class of every pixel, (X, Y), from what `join` makes of the views, tile by tile."""
    num_classes, device = views[0].scores.shape[-1], views[0].scores.device
    dtype = torch.uint8 if num_classes <= 256 else torch.int16
    prediction = torch.empty(size, dtype=dtype, device=device)
    for tile in tiles(size, num_classes, device):
        best = join([view.tile(*tile) for view in views]).max(dim=-1).indices
        prediction[tile] = best.to(dtype)
    return prediction.cpu().numpy()
