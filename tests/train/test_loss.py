"""Cross entropy on upsampled logits against torch's interpolate and cross_entropy."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regproxy.errors import DataError
from regproxy.train import tiles
from regproxy.train.loss import upsampled_cross_entropy

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


@pytest.mark.parametrize(("size", "cells"), [((37, 50), (4, 4)), ((28, 15), (2, 3)), ((13, 41), (14, 14))])
def test_logits_of_14_pixel_patches_cover_more_than_the_labels(
    size: tuple[int, int], cells: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiles, "_TILE_SIDE", 13)
    tokens = [-(-side // 14) for side in size]
    grid = tuple(count * parts for count, parts in zip(tokens, cells, strict=True))
    logits, labels = sample(grid, size, torch.float64)
    ours = value_and_gradient(upsampled_cross_entropy(logits, labels, patch=14), logits)
    whole = torch.full((2, tokens[0] * 14, tokens[1] * 14), 255)
    whole[:, : size[0], : size[1]] = labels
    reference = value_and_gradient(plain(logits, whole) * whole.numel() / labels.numel(), logits)
    torch.testing.assert_close(ours, reference, rtol=1e-13, atol=1e-13)


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


@pytest.mark.parametrize("factor", range(1, 33))
def test_every_whole_factor_equals_plain(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_TILE_SIDE", 13)  # tiles end anywhere between the logits
    logits, labels = sample((5, 3), (5 * factor, 3 * factor), torch.float64)
    ours = value_and_gradient(upsampled_cross_entropy(logits, labels), logits)
    torch.testing.assert_close(
        ours, value_and_gradient(plain(logits, labels), logits), rtol=1e-12, atol=1e-14
    )


@pytest.mark.parametrize("scale", [30, 1e3, 1e6])
def test_large_logits_equal_plain(scale: float) -> None:
    logits, labels = sample((4, 4), (16, 16), torch.float32)
    logits = (logits.detach() * scale).requires_grad_()
    ours = value_and_gradient(upsampled_cross_entropy(logits, labels), logits)
    exact = logits.detach().double().requires_grad_()
    value, gradient = value_and_gradient(plain(exact, labels), exact)
    torch.testing.assert_close(ours[0].double(), value, rtol=1e-5, atol=0)
    # Large logits are rounded to steps that are visible after a softmax.
    step = torch.finfo(torch.float32).eps * exact.abs().max().item()
    torch.testing.assert_close(ours[1].double(), gradient, rtol=0, atol=min(4 * step, 1.0) / labels.numel())


def test_same_bits_twice() -> None:
    logits, labels = sample((5, 7), (40, 56), torch.float32)
    first, second = (value_and_gradient(upsampled_cross_entropy(logits, labels), logits) for _ in range(2))
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_inputs_are_not_changed() -> None:
    logits, labels = sample((16, 16), (16, 16), torch.float32)
    copies = logits.detach().clone(), labels.clone()
    upsampled_cross_entropy(logits, labels).backward()
    assert torch.equal(logits, copies[0]) and torch.equal(labels, copies[1])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("ignore_label", [255, 4])
def test_labels_of_any_type(dtype: torch.dtype, ignore_label: int) -> None:
    logits, labels = sample((4, 4), (16, 16), torch.float64)
    expected = upsampled_cross_entropy(logits, labels)
    changed = labels.to(dtype)
    if ignore_label == 4:
        expected = upsampled_cross_entropy(logits, labels.where(labels != 4, 255))
        changed = changed.where(changed != 255, 4)
    assert torch.equal(upsampled_cross_entropy(logits, changed, ignore_label), expected)


@pytest.mark.parametrize("strides", ["channels_last", "transposed", "cropped"])
def test_memory_layout_does_not_matter(strides: str) -> None:
    logits, labels = sample((6, 6), (24, 24), torch.float64)
    expected = value_and_gradient(upsampled_cross_entropy(logits, labels), logits)
    values = logits.detach()
    if strides == "channels_last":
        values = values.contiguous(memory_format=torch.channels_last)
    elif strides == "transposed":
        values, labels = values.mT.contiguous().mT, labels.mT.contiguous().mT
    else:
        values = torch.nn.functional.pad(values, (1, 2, 3, 0))[:, :, 3:, 1:-2]
    values.requires_grad_()
    actual = value_and_gradient(upsampled_cross_entropy(values, labels), values)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15)


def test_compiles() -> None:
    logits, labels = sample((4, 4), (16, 16), torch.float32)

    def doubled(values: Tensor) -> Tensor:
        return upsampled_cross_entropy(values * 2, labels) * 3

    compiled = torch.compile(doubled, backend="aot_eager")
    actual, expected = (value_and_gradient(function(logits), logits) for function in (compiled, doubled))
    torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("grid", [(3, 2), (7, 2), (7, 5), (1, 1)])
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


def test_size_of_tiles_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = sample((5, 7), (33, 29), torch.float64)
    values = []
    for elements, side in ((1, 1), (1, 7), (2 * 5 * 29 * 3, 512), (2**30, 5), (2**30, 512)):
        monkeypatch.setattr(tiles, "_TILE_ELEMENTS", elements)
        monkeypatch.setattr(tiles, "_TILE_SIDE", side)
        values.append(value_and_gradient(upsampled_cross_entropy(logits, labels), logits))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (torch.full((2, 8, 8), 5), {}, "label 5 is invalid: expected 0 to 4 or 255"),
        (torch.full((2, 8, 8), -1), {}, "label -1"),
        (torch.zeros(2, 8, dtype=torch.uint8), {}, "expected logits"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), {}, "expected logits"),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), {"mean_over": "some"}, "expected all or valid; got 'some'"),
    ],
)
def test_invalid_arguments_are_refused(labels: Tensor, options: dict, message: str) -> None:
    with pytest.raises((DataError, ValueError), match=message):
        upsampled_cross_entropy(torch.zeros(2, 5, 4, 4), labels, **options)
