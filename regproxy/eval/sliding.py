"""Prediction of one image of any size: sliding windows over the rescaled image, with averaged logits.

K classes, X Y the image's own size, X' Y' its size after rescaling, B windows at a time. Corners are the
(top, left) pixel of windows in the rescaled image.
"""

from functools import lru_cache

import numpy as np
import torch
from torch import nn

from regproxy.config.variant import Evaluation
from regproxy.eval.stitching import blocks, largest, tiles
from regproxy.eval.views import Observer, View, scaled_views, view_of


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
    view = view_of(model, image, evaluation.scale, evaluation, (mean, std), observe)
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
    return _classes(scaled_views(model, image, evaluation, (mean, std)))


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
        views = scaled_views(model, image, evaluation, statistics)
    else:
        views = [view_of(model, image, evaluation.scale, evaluation, statistics)]
    confidence = np.empty(image.shape[:2], np.float32)
    return _classes(views, confidence), confidence


def _classes(views: list[View], confidence: np.ndarray | None = None) -> np.ndarray:
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
