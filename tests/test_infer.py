"""Prediction of whole images against a plain reference that keeps everything at full size."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config import IMAGENET_MEAN, IMAGENET_STD, Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.eval import infer
from regproxy.eval.infer import argmax_resized, predict, window_corners


class Toy(nn.Module):
    """Logits (B, 5, X / 4, Y / 4) that depend on the place in the window, as a transformer's do."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 5, 9, stride=4, padding=4)

    def forward(self, images: Tensor) -> Tensor:
        logits = self.conv(images)
        return logits + torch.linspace(0, 0.5, logits.shape[3])


def plain_predict(model: nn.Module, image: np.ndarray, evaluation: Evaluation) -> Tensor:
    """Returns logits (1, K, X, Y) by the textbook: every window padded on its own, everything kept."""
    factor = min(max(evaluation.scale) / max(image.shape[:2]), min(evaluation.scale) / min(image.shape[:2]))
    height, width = (int(side * factor + 0.5) for side in image.shape[:2])
    pixels = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    pixels = (pixels - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    (tall, wide), (down, right) = evaluation.window, evaluation.stride
    canvas, times = torch.zeros(1, 5, height, width), torch.zeros(height, width)
    for row in range(max(height - tall + down - 1, 0) // down + 1):
        for column in range(max(width - wide + right - 1, 0) // right + 1):
            bottom, end = min(row * down + tall, height), min(column * right + wide, width)
            top, left = max(bottom - tall, 0), max(end - wide, 0)
            window = torch.zeros(1, 3, tall, wide)
            window[:, :, : bottom - top, : end - left] = images[:, :, top:bottom, left:end]
            scores = functional.interpolate(model(window), (tall, wide), mode="bilinear")
            canvas[:, :, top:bottom, left:end] += scores[:, :, : bottom - top, : end - left]
            times[top:bottom, left:end] += 1
    assert times.min() >= 1
    return functional.interpolate(canvas / times, image.shape[:2], mode="bilinear", align_corners=False)


@pytest.mark.parametrize("size", [(50, 70), (64, 64), (97, 40), (30, 111), (20, 24)])
@pytest.mark.parametrize(
    "evaluation",
    [
        Evaluation(scale=(96, 64), window=(32, 32), stride=(20, 32)),
        Evaluation(scale=(128, 48), window=(64, 64), stride=(64, 64)),
        Evaluation(scale=(64, 64), window=(16, 32), stride=(16, 16)),
    ],
)
def test_predict_equals_the_plain_reference(
    size: tuple[int, int], evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(infer, "_BAND_ELEMENTS", 5 * size[1] * 7)  # bands of seven rows
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model = Toy().eval()
    prediction = predict(model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert prediction.shape == size and prediction.dtype == np.uint8
    with torch.no_grad():
        best, second = plain_predict(model, image, evaluation)[0].topk(2, dim=0).values
        expected = plain_predict(model, image, evaluation)[0].argmax(dim=0)
    clear = (best - second > 1e-4).numpy()  # rounding may decide a tie either way
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(prediction[clear], expected.numpy()[clear])


@pytest.mark.parametrize("size", [(20, 33), (64, 48), (40, 48), (7, 9)])
def test_argmax_in_bands_equals_argmax_at_once(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    logits = torch.randn(1, 6, 40, 48, dtype=torch.float64)
    whole = functional.interpolate(logits, size, mode="bilinear", align_corners=False).argmax(dim=1)[0]
    for rows in (1, 3, 1000):
        monkeypatch.setattr(infer, "_BAND_ELEMENTS", 6 * size[1] * rows)
        np.testing.assert_array_equal(argmax_resized(logits, size), whole.numpy())


@pytest.mark.parametrize(
    ("size", "corners"),
    [
        ((32, 80), [(0, 0), (0, 32), (0, 48)]),
        ((20, 32), [(0, 0)]),
        ((33, 64), [(0, 0), (0, 32), (1, 0), (1, 32)]),
    ],
)
def test_the_last_window_is_moved_inside(size: tuple[int, int], corners: list[tuple[int, int]]) -> None:
    assert list(window_corners(size, (32, 32), (32, 32))) == corners


@pytest.mark.parametrize(
    ("size", "scale", "expected"),
    [
        ((683, 512), (2048, 512), (683, 512)),
        ((1024, 2048), (2048, 1024), (1024, 2048)),
        ((300, 500), (2048, 512), (512, 853)),
        ((500, 3000), (2048, 512), (341, 2048)),
        ((512, 683), (512, 2048), (512, 683)),
    ],
)
def test_rescaling_keeps_the_aspect_within_the_scale(
    size: tuple[int, int], scale: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert rescaled_size(size, scale) == expected
