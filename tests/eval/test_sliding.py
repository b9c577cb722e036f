"""Prediction of whole images against a plain reference that keeps everything at full size."""

import cv2
import numpy as np
import pytest
import torch
from largest_tensor import LargestTensor
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.recipe import IMAGENET_MEAN, IMAGENET_STD
from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.eval import stitching
from regproxy.eval.sliding import predict, predict_multi_scale


class Toy(nn.Module):
    """Logits (B, 5, ceil(X / p) h, ceil(Y / p) h) that depend on the position in the window, as a ViT's do.

    `patch` is p, `cells` is h.
    """

    def __init__(self, patch: int = 4, cells: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = patch
        self.conv = nn.Conv2d(3, 5, 9, stride=patch // cells, padding=4)

    def forward(self, images: Tensor) -> Tensor:
        bottom, right = (-side % self.patch for side in images.shape[2:])
        logits = self.conv(functional.pad(images, (0, right, 0, bottom)))
        return logits + torch.linspace(0, 0.5, logits.shape[3])


def plain_predict(model: nn.Module, image: np.ndarray, evaluation: Evaluation) -> Tensor:
    """Return logits (1, K, X, Y). Each window is padded on its own, and everything is kept at full size."""
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
            padded = [-(-side // model.patch) * model.patch for side in (tall, wide)]
            scores = functional.interpolate(
                model(window), padded, mode="bilinear"
            )  # these are beyond the window
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
@pytest.mark.parametrize(("patch", "cells"), [(4, 1), (14, 2)])  # 14 does not divide the windows
def test_predict_equals_the_plain_reference(
    size: tuple[int, int], evaluation: Evaluation, patch: int, cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stitching._TILE_ELEMENTS, "cpu", 5 * 11 * 7)  # tiles of seven rows
    monkeypatch.setitem(stitching._TILE_SIDE, "cpu", 11)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model = Toy(patch, cells).eval()
    prediction = predict(model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert prediction.shape == size and prediction.dtype == np.uint8
    with torch.no_grad():
        best, second = plain_predict(model, image, evaluation)[0].topk(2, dim=0).values
        expected = plain_predict(model, image, evaluation)[0].argmax(dim=0)
    clear = (best - second > 1e-4).numpy()  # rounding decides ties
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(prediction[clear], expected.numpy()[clear])


@pytest.mark.parametrize("limit", [2**27, 20_000, 1])
def test_multi_scale_is_the_mean_of_softmaxes(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stitching._BLOCK_ELEMENTS, "cpu", limit)
    monkeypatch.setattr(stitching, "_MIN_BLOCK_LINES", 9)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    model = Toy().eval()
    windows = {"window": (32, 32), "stride": (20, 32)}
    evaluation = Evaluation(scale=(96, 64), multi_scale_ratios=(0.5, 1.0, 1.75), **windows)
    prediction = predict_multi_scale(
        model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    total = torch.zeros(5, 50, 70)
    with torch.no_grad():
        for ratio in evaluation.multi_scale_ratios:
            one = Evaluation(scale=(int(96 * ratio + 0.5), int(64 * ratio + 0.5)), **windows)
            total += plain_predict(model, image, one)[0].softmax(dim=0)
            total += plain_predict(model, image[:, ::-1], one)[0].softmax(dim=0).flip(2)
    best, second = total.topk(2, dim=0).values
    clear = (best - second > 1e-5).numpy()
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(prediction[clear], total.argmax(dim=0).numpy()[clear])


def test_no_tensor_is_as_large_as_the_full_size_logits() -> None:
    """The full-size logits of 150 classes at 1024 x 768 are 118 million; no tensor has a tenth of that."""
    model = nn.Conv2d(3, 150, 16, stride=16).eval()
    model.patch = 16
    image = np.zeros((768, 1024, 3), np.uint8)
    evaluation = Evaluation(scale=(1024, 768), window=(512, 512), stride=(512, 512))
    with LargestTensor() as largest:
        predict(model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert 0 < largest.elements < 150 * 768 * 1024 / 10


@pytest.mark.parametrize("size", [(50, 70), (97, 40), (20, 24)])
@pytest.mark.parametrize("limit", [30_000, 6_000, 1])
def test_the_number_of_blocks_changes_no_prediction(
    size: tuple[int, int], limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model = Toy().eval()
    statistics = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    evaluation = Evaluation(scale=(192, 128), window=(64, 64), stride=(40, 64))
    whole = predict(model, image, evaluation=evaluation, **statistics)
    monkeypatch.setitem(stitching._BLOCK_ELEMENTS, "cpu", limit)
    monkeypatch.setattr(stitching, "_MIN_BLOCK_LINES", 7)
    assert (
        predict(model, image, evaluation=evaluation, **statistics) == whole
    ).mean() > 0.999  # rounding decides ties


@pytest.mark.parametrize("limit", [2**27, 1_500])
def test_every_window_is_observed_once(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(stitching._BLOCK_ELEMENTS, "cpu", limit)

    class WithAffinity(Toy):
        def forward(self, images: Tensor, *, return_affinity: bool = False) -> Tensor:
            logits = super().forward(images)
            return (logits, images[:, :1]) if return_affinity else logits

    seen: list[tuple[int, int]] = []

    def observe(corners: list[tuple[int, int]], affinity: Tensor) -> None:
        assert len(corners) == len(affinity)
        seen.extend(corners)

    image = np.zeros((64, 160, 3), np.uint8)
    evaluation = Evaluation(scale=(160, 64), window=(32, 32), stride=(32, 24))
    predict(
        WithAffinity().eval(),
        image,
        evaluation=evaluation,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        observe=observe,
    )
    assert sorted(seen) == [(top, left) for top in (0, 32) for left in (0, 24, 48, 72, 96, 120, 128)]


def test_more_than_256_classes() -> None:
    model = nn.Conv2d(3, 300, 8, stride=8).eval()
    model.patch = 8
    model.bias.data[290] = 1e3
    image = np.zeros((20, 30, 3), np.uint8)
    evaluation = Evaluation(scale=(32, 16), window=(16, 16), stride=(16, 16))
    prediction = predict(model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert prediction.dtype == np.int16 and (prediction == 290).all()


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
