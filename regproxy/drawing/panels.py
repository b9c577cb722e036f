"""The panels of a qualitative picture as pixels: labels in their colours, and where a prediction is wrong."""

import numpy as np

from regproxy.config.dataset import IGNORE_LABEL

WRONG = np.array([255, 84, 48], np.uint8)  # RGB; strong on the dark image, for colour-blind readers too
_VOID = 128
_DARKENED = 0.5  # brightness of the image below the errors
_HATCH = (45, 110)  # dark and light grey of void


def paint_label(label: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Return a label map (H, W) in the colours (K, 3) of its classes, uint8 (H, W, 3); void is hatched."""
    table = np.zeros((256, 3), np.uint8)
    table[: len(colours)] = colours
    rows, columns = np.indices(label.shape)
    stripe = max(max(label.shape) // 96, 1)
    hatch = np.where((rows + columns) // stripe % 4 == 0, _HATCH[1], _HATCH[0]).astype(np.uint8)
    return np.where((label == IGNORE_LABEL)[..., None], hatch[..., None], table[label])


def paint_errors(image: np.ndarray, label: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Return the image (H, W, 3) dark and grey, its wrong pixels in `WRONG` and void in light grey, uint8.

    Args:
        label, prediction: classes (H, W); void of the label is neither right nor wrong.
    """
    grey = (_DARKENED * image.mean(axis=-1, keepdims=True)).astype(np.uint8)
    void, wrong = (label == IGNORE_LABEL)[..., None], (label != prediction)[..., None]
    return np.where(void, np.uint8(_VOID), np.where(wrong, WRONG, grey))


def fit(pixels: np.ndarray, box: int) -> np.ndarray:
    """Return a picture (H, W) or (H, W, 3) in a size that fits a square box of `box` pixels.

    A small picture grows by a whole factor without smoothing, so that its pixels stay visible blocks. A large
    label map (H, W) loses pixels, a large image is averaged.
    """
    import cv2

    height, width = pixels.shape[:2]
    scale = box / max(height, width)
    if scale >= 1:
        return pixels.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    size = (max(round(scale * width), 1), max(round(scale * height), 1))
    method = cv2.INTER_NEAREST if pixels.ndim == 2 else cv2.INTER_AREA
    return cv2.resize(pixels, size, interpolation=method)
