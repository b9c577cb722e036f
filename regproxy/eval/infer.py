"""Prediction of one image of any size: sliding windows over the rescaled image, logits averaged.

K classes, X Y the image's own size, X' Y' its size after rescaling.
"""

from collections.abc import Iterator

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.data.loader import normalise

_BAND_ELEMENTS = 2**24  # of full-resolution logits held at a time
_WINDOWS_AT_ONCE = 4


@torch.inference_mode()
def predict(
    model: nn.Module,
    image: np.ndarray,
    *,
    evaluation: Evaluation,
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> np.ndarray:
    """Returns the class of every pixel: uint8 or int16 (X, Y), at the image's own resolution.

    Args:
        model: in eval mode, on any device.
        image: (X, Y, 3) uint8 RGB.
        evaluation: scale, window and stride, single scale.
        mean, std: of the training's normalisation, RGB, 0..255.
    """
    device = next(model.parameters()).device
    height, width = rescaled_size(image.shape[:2], evaluation.scale)
    if (height, width) != image.shape[:2]:
        image_scaled = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    else:
        image_scaled = image
    batch = normalise(torch.from_numpy(np.ascontiguousarray(image_scaled))[None].to(device), mean, std)
    return argmax_resized(sliding_logits(model, batch, evaluation), image.shape[:2])


def sliding_logits(model: nn.Module, images: Tensor, evaluation: Evaluation) -> Tensor:
    """Returns logits (1, K, X', Y') of (1, 3, X', Y'): the mean of all windows that cover a pixel.

    Windows larger than the image are filled up with 0, the mean colour, at the bottom and right.
    """
    size, window = images.shape[2:], evaluation.window
    missing = [max(w - side, 0) for side, w in zip(size, window, strict=True)]
    padded = functional.pad(images, (0, missing[1], 0, missing[0]))
    corners = list(window_corners(size, window, evaluation.stride))
    logits, times = None, padded.new_zeros(padded.shape[2:])
    for first in range(0, len(corners), _WINDOWS_AT_ONCE):
        views = [
            (..., slice(top, top + window[0]), slice(left, left + window[1]))
            for top, left in corners[first : first + _WINDOWS_AT_ONCE]
        ]
        scores = model(torch.cat([padded[view] for view in views])).float()
        if logits is None:
            logits = padded.new_zeros(1, scores.shape[1], *padded.shape[2:])
        for view, score in zip(views, scores, strict=True):
            logits[view] += functional.interpolate(score[None], window, mode="bilinear", align_corners=False)
            times[view] += 1
    return logits.div_(times)[..., : size[0], : size[1]]


def window_corners(
    size: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Yields (top, left) of the windows that cover `size`; the last of a row or column is moved inside."""
    starts = [
        [min(step * s, max(side - w, 0)) for step in range(max(-(-(side - w) // s), 0) + 1)]
        for side, w, s in zip(size, window, stride, strict=True)
    ]
    return ((top, left) for top in starts[0] for left in starts[1])


def argmax_resized(logits: Tensor, size: tuple[int, int]) -> np.ndarray:
    """Returns the argmax over K of (1, K, X', Y') logits resized bilinearly to (X, Y), band by band.

    No more than a fixed number of resized logits is held at a time.
    """
    num_classes = logits.shape[1]
    dtype = torch.uint8 if num_classes <= 256 else torch.int16
    prediction = torch.empty(size, dtype=dtype, device=logits.device)
    rows_at_once = max(_BAND_ELEMENTS // (num_classes * size[1]), 1)
    for start in range(0, size[0], rows_at_once):
        stop = min(start + rows_at_once, size[0])
        prediction[start:stop] = _resized_rows(logits, size, start, stop)[0].argmax(dim=0).to(dtype)
    return prediction.cpu().numpy()


def _resized_rows(logits: Tensor, size: tuple[int, int], start: int, stop: int) -> Tensor:
    """Returns rows [start, stop) of the logits resized to `size`: (1, K, stop - start, Y)."""
    if tuple(logits.shape[2:]) == tuple(size):
        return logits[:, :, start:stop]
    scale = logits.shape[2] / size[0]
    place = ((torch.arange(start, stop, device=logits.device) + 0.5) * scale - 0.5).clamp(min=0)
    low = place.long().clamp(max=logits.shape[2] - 1)
    high = (low + 1).clamp(max=logits.shape[2] - 1)
    share = (place - low)[:, None].to(logits.dtype)
    rows = logits[:, :, low] * (1 - share) + logits[:, :, high] * share
    return functional.interpolate(rows, (stop - start, size[1]), mode="bilinear", align_corners=False)
