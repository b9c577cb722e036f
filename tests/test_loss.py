"""Cross entropy on upsampled logits, against torch's interpolate and cross_entropy."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regproxy.train import loss as loss_module
from regproxy.train.loss import bands, interpolation_matrix, touched_rows, upsampled_cross_entropy

SIZES = [
    ((8, 8), (32, 32)),
    ((4, 6), (32, 48)),
    ((16, 16), (16, 16)),
    ((16, 8), (16, 32)),
    ((5, 7), (13, 17)),
    ((7, 3), (8, 29)),
    ((1, 1), (5, 3)),
    ((1, 4), (2, 4)),
    ((16, 16), (13, 15)),
    ((9, 9), (3, 20)),
]


def plain(logits: Tensor, labels: Tensor, mean_over: str = "all") -> Tensor:
    upsampled = functional.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    total = functional.cross_entropy(upsampled, labels.long(), ignore_index=255, reduction="sum")
    valid = (labels != 255).sum().clamp(min=1)
    return total / (labels.numel() if mean_over == "all" else valid)


def sample(
    grid: tuple[int, int], size: tuple[int, int], dtype: torch.dtype, *, classes: int = 5
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, *grid, dtype=torch.float64, generator=generator).to(dtype) * 3
    labels = torch.randint(0, classes, (2, *size), generator=generator).to(torch.uint8)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    return logits.requires_grad_(), labels


def value_and_gradient(value: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize(("grid", "size"), SIZES)
@pytest.mark.parametrize("mean_over", ["all", "valid"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float64, 1e-13)], ids=["float32", "float64"]
)
def test_equals_plain(
    grid: tuple[int, int], size: tuple[int, int], mean_over: str, dtype: torch.dtype, tolerance: float
) -> None:
    logits, labels = sample(grid, size, dtype)
    ours = value_and_gradient(upsampled_cross_entropy(logits, labels, mean_over=mean_over), logits)
    reference = value_and_gradient(plain(logits, labels, mean_over), logits)
    torch.testing.assert_close(ours, reference, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("grid", [(3, 2), (7, 2)])
def test_gradcheck(grid: tuple[int, int]) -> None:
    logits, labels = sample(grid, (7, 5), torch.float64, classes=3)
    assert torch.autograd.gradcheck(lambda values: upsampled_cross_entropy(values, labels), (logits,))


def test_half_precision_is_computed_in_float32() -> None:
    logits, labels = sample((8, 8), (32, 32), torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(upsampled_cross_entropy(logits, labels), logits)
    exact = logits.detach().float().requires_grad_()
    expected, expected_gradient = value_and_gradient(plain(exact, labels), exact)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    torch.testing.assert_close(value, expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradient, expected_gradient.bfloat16(), rtol=1e-2, atol=1e-9)


def test_all_void_gives_zero_and_no_gradient() -> None:
    logits, _ = sample((2, 2), (8, 8), torch.float32)
    labels = torch.full((2, 8, 8), 255, dtype=torch.uint8)
    for mean_over in ("all", "valid"):
        value, gradient = value_and_gradient(
            upsampled_cross_entropy(logits, labels, mean_over=mean_over), logits
        )
        assert value == 0 and (gradient == 0).all()


def test_void_pixels_count_in_the_mean_over_all() -> None:
    logits, labels = sample((4, 4), (16, 16), torch.float64)
    share = (labels != 255).double().mean()
    over_all, over_valid = (upsampled_cross_entropy(logits, labels, mean_over=m) for m in ("all", "valid"))
    torch.testing.assert_close(over_all, over_valid * share)


def test_parts_of_a_batch_add_up() -> None:
    logits, labels = sample((4, 4), (16, 16), torch.float64)
    whole = value_and_gradient(upsampled_cross_entropy(logits, labels), logits)
    pixels = torch.tensor(labels.numel())
    parts = [
        upsampled_cross_entropy(logits[i : i + 1], labels[i : i + 1], denominator=pixels) for i in (0, 1)
    ]
    torch.testing.assert_close(value_and_gradient(sum(parts), logits), whole, rtol=1e-12, atol=1e-15)


def test_size_of_bands_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = sample((5, 7), (33, 29), torch.float64)
    values = []
    for elements in (1, 2 * 5 * 29 * 3, 2**30):
        monkeypatch.setattr(loss_module, "_BAND_ELEMENTS", elements)
        values.append(value_and_gradient(upsampled_cross_entropy(logits, labels), logits))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("shape", [(8, 128, 128), (2, 512, 512), (1, 3, 5), (16, 1024, 2048)])
def test_bands_cover_all_rows_and_stay_small(shape: tuple[int, int, int]) -> None:
    cut = bands(150, torch.Size(shape))
    assert [row for start, stop in cut for row in range(start, stop)] == list(range(shape[1]))
    for start, stop in cut:
        assert stop - start == 1 or (stop - start) * 4 <= shape[1]
        assert stop - start == 1 or (stop - start) * shape[0] * shape[2] * 150 <= 2**22


@pytest.mark.parametrize("size_out", [3, 7, 8, 31, 64, 100])
@pytest.mark.parametrize("size_in", [1, 2, 3, 7, 8, 31])
def test_bands_touch_every_row_they_need(size_in: int, size_out: int) -> None:
    matrix = interpolation_matrix(size_in, size_out, torch.zeros((), dtype=torch.float64))
    if matrix is None:
        return
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size_out, dtype=torch.float64))
    for start in range(0, size_out, 2):
        stop = min(start + 2, size_out)
        low, high = touched_rows(start, stop, size_in, size_out)
        untouched = matrix[start:stop].clone()
        untouched[:, low:high] = 0
        assert (untouched == 0).all()


@pytest.mark.parametrize(
    ("labels", "keywords", "message"),
    [
        (torch.full((2, 8, 8), 5), {}, "label 5 is no class, allowed are 0 to 4 and 255"),
        (torch.full((2, 8, 8), -1), {}, "label -1"),
        (torch.zeros(2, 8, dtype=torch.uint8), {}, "expected logits"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), {}, "expected logits"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), {"mean_over": "some"}, "allowed are all, valid"),
    ],
)
def test_what_cannot_be_right_is_refused(labels: Tensor, keywords: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        upsampled_cross_entropy(torch.zeros(2, 5, 4, 4), labels, **keywords)
