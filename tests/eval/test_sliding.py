"""Prediction of whole images against a plain reference that keeps everything at full size."""

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from regproxy.config.variant import IMAGENET_MEAN, IMAGENET_STD, Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.eval import stitching as windows
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.eval.stitching import Axis, axis_part, bilinear, starts


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
    monkeypatch.setitem(windows._TILE_ELEMENTS, "cpu", 5 * 11 * 7)  # tiles of seven rows
    monkeypatch.setitem(windows._TILE_COLUMNS, "cpu", 11)
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


@pytest.mark.parametrize("limit", [2**27, 20_000, 1])
def test_multi_scale_is_the_mean_of_softmaxes(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(windows._BLOCK_ELEMENTS, "cpu", limit)
    monkeypatch.setattr(windows, "_SMALLEST", 9)
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    model = Toy().eval()
    how = {"window": (32, 32), "stride": (20, 32)}
    evaluation = Evaluation(scale=(96, 64), multi_scale_ratios=(0.5, 1.0, 1.75), **how)
    prediction = predict_multi_scale(
        model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    total = torch.zeros(5, 50, 70)
    with torch.no_grad():
        for ratio in evaluation.multi_scale_ratios:
            one = Evaluation(scale=(int(96 * ratio + 0.5), int(64 * ratio + 0.5)), **how)
            total += plain_predict(model, image, one)[0].softmax(dim=0)
            total += plain_predict(model, image[:, ::-1], one)[0].softmax(dim=0).flip(2)
    best, second = total.topk(2, dim=0).values
    clear = (best - second > 1e-5).numpy()
    assert clear.mean() > 0.98
    np.testing.assert_array_equal(prediction[clear], total.argmax(dim=0).numpy()[clear])


class Largest(TorchDispatchMode):
    """Notes the elements of the largest tensor that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for part in out if isinstance(out, (tuple, list)) else [out]:
            if isinstance(part, Tensor):
                self.elements = max(self.elements, part.numel())
        return out


def test_no_tensor_is_as_large_as_the_full_size_logits() -> None:
    """150 classes at 1024 x 768 are 118 million logits; no operation makes more than a tenth of that."""
    model = nn.Conv2d(3, 150, 16, stride=16).eval()
    image = np.zeros((768, 1024, 3), np.uint8)
    evaluation = Evaluation(scale=(1024, 768), window=(512, 512), stride=(512, 512))
    with Largest() as largest:
        predict(model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert 0 < largest.elements < 150 * 768 * 1024 / 10


@pytest.mark.parametrize("side", [2048, 8192, 30_000])
def test_planning_and_matrices_are_bounded_whatever_the_side(side: int) -> None:
    view = (Axis(side, side, 768, 512), Axis(side, side // 2, 768, 512, mirrored=True))
    axis_part.cache_clear()
    with Largest() as largest:
        rows, columns = windows.blocks([view], (19, 192, 192), torch.device("cpu"))[-1]
        for axis, part in zip(view, (rows, columns), strict=True):
            assert axis_part(axis, part, 192).matrix.shape[0] == len(part)
    assert 0 < largest.elements <= 2**22


@pytest.mark.parametrize(("size_in", "size_out"), [(5, 20), (20, 5), (7, 7), (1, 9), (9, 1), (13, 31)])
def test_part_of_an_interpolation_is_a_part_of_the_whole(size_in: int, size_out: int) -> None:
    whole = bilinear(size_in, size_out)
    for first in range(size_out):
        for stop in range(first + 1, size_out + 1):
            part = range(first, stop)
            lines = windows.taps(size_in, size_out, part)
            found = torch.zeros(len(part), size_in, dtype=torch.float64)
            found[:, lines.start : lines.stop] = bilinear(size_in, size_out, part, lines)
            assert torch.equal(found, whole[first:stop])


@pytest.mark.parametrize("size", [(50, 70), (97, 40), (20, 24)])
@pytest.mark.parametrize("limit", [30_000, 6_000, 1])
def test_blocks_change_nothing(size: tuple[int, int], limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model = Toy().eval()
    how = {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    evaluation = Evaluation(scale=(192, 128), window=(64, 64), stride=(40, 64))
    whole = predict(model, image, evaluation=evaluation, **how)
    monkeypatch.setitem(windows._BLOCK_ELEMENTS, "cpu", limit)
    monkeypatch.setattr(windows, "_SMALLEST", 7)
    assert (predict(model, image, evaluation=evaluation, **how) == whole).mean() > 0.999  # but for ties


def test_blocks_cover_the_image_once_and_are_bounded() -> None:
    views = [
        (Axis(1024, rows, 768, 512), Axis(2048, 2 * rows, 768, 512, mirrored))
        for rows in (512, 1024, 1792)
        for mirrored in (False, True)
    ]
    shape, limit = (150, 192, 192), windows._BLOCK_ELEMENTS["cpu"]
    parts = windows.blocks(views, shape, torch.device("cpu"))
    seen = np.zeros((1024, 2048), int)
    for rows, columns in parts:
        seen[rows.start : rows.stop, columns.start : columns.stop] += 1
        lines = [
            [
                axis_part(axis, part, 192).matrix.shape[1]
                for axis, part in zip(view, (rows, columns), strict=True)
            ]
            for view in views
        ]
        assert sum(150 * tall * wide for tall, wide in lines) <= limit
    assert (seen == 1).all() and len(parts) > 1
    assert len(windows.blocks(views, (19, 192, 192), torch.device("cpu"))) == 1


@pytest.mark.parametrize("limit", [2**27, 1_500])
def test_every_window_is_observed_once(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(windows._BLOCK_ELEMENTS, "cpu", limit)

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
    model.bias.data[290] = 1e3
    image = np.zeros((20, 30, 3), np.uint8)
    evaluation = Evaluation(scale=(32, 16), window=(16, 16), stride=(16, 16))
    prediction = predict(model, image, evaluation=evaluation, mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert prediction.dtype == np.int16 and (prediction == 290).all()


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (80, [0, 32, 48]),
        (20, [0]),
        (33, [0, 1]),
        (64, [0, 32]),
    ],
)
def test_the_last_window_is_moved_inside(side: int, expected: list[int]) -> None:
    assert starts(side, 32, 32) == expected


@pytest.mark.parametrize(("size_in", "size_out"), [(5, 20), (20, 5), (7, 7), (1, 9), (9, 1), (13, 31)])
def test_interpolation_matrix_is_torchs(size_in: int, size_out: int) -> None:
    values = torch.randn(1, 1, size_in, dtype=torch.float64)
    expected = functional.interpolate(values[..., None], (size_out, 1), mode="bilinear", align_corners=False)
    torch.testing.assert_close(bilinear(size_in, size_out) @ values[0, 0], expected[0, 0, :, 0])


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
