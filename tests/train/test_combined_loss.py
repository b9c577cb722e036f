"""Class weights, hard pixels and dice against plain references at the labels' size, gradients included."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regproxy.config.recipe import Recipe
from regproxy.errors import DataError
from regproxy.train import tiles
from regproxy.train.combined_loss import combined_loss
from regproxy.train.context import Context
from regproxy.train.loss import upsampled_cross_entropy

CLASSES = ("sky", "road", "tree", "car", "person")
WEIGHTS = {"road": 0.25, "person": 4.0, "sky": 0.0}
SIZES = [
    ((8, 8), (32, 32)),
    ((16, 16), (16, 16)),
    ((5, 7), (13, 17)),
    ((7, 3), (8, 29)),
    ((1, 1), (5, 3)),
    ((16, 16), (13, 15)),
]
OPTIONS = {
    "weights": {"class_weights": WEIGHTS},
    "mined": {"ohem_threshold": 0.3, "ohem_min_share": 0.0},
    "mined-share": {"ohem_threshold": 0.01, "ohem_min_share": 0.5},
    "mined-all": {"ohem_threshold": 0.01, "ohem_min_share": 1.0},
    "dice": {"dice_weight": 2.0},
    "everything": {"class_weights": WEIGHTS, "ohem_threshold": 0.4, "dice_weight": 0.5},
}


def recipe(**options: object) -> Recipe:
    return Recipe(steps=1, crop=(8, 8), scale=(8, 8), **options)


def sample(grid: tuple[int, int], size: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return logits and labels; a third of the labels are void, and the last image has no person."""
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, 5, *grid, dtype=torch.float64, generator=generator) * 2).to(dtype)
    labels = torch.randint(0, 5, (2, *size), generator=generator).to(torch.uint8)
    labels[1][labels[1] == 4] = 0
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = 255
    return logits.requires_grad_(), labels


def reference(logits: Tensor, labels: Tensor, options: Recipe, denominator: Tensor) -> Tensor:
    """The definition, on logits and probabilities of the labels' size."""
    upsampled = functional.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    weight = torch.tensor([options.class_weights.get(name, 1.0) for name in CLASSES]).to(logits)
    per_pixel = functional.cross_entropy(
        upsampled, labels.long(), weight=weight, ignore_index=255, reduction="none"
    )
    probabilities = upsampled.softmax(dim=1)
    valid = labels != 255
    true = probabilities.gather(1, (labels * valid).long()[:, None])[:, 0].detach()
    loss = per_pixel.sum() / denominator
    if options.ohem_threshold is not None:
        limit, needed = options.ohem_threshold, math.ceil(options.ohem_min_share * valid.sum().item())
        if (true[valid] < limit).sum() < needed:
            hardest = true[valid].sort().values[needed - 1].item()
            limit = (math.floor(hardest * 4096) + 1) / 4096  # the first step of 1/4096 above it
            limit = math.inf if limit >= 1 else limit
        kept = valid & (true < limit)
        loss = (per_pixel * kept).sum() / kept.sum().clamp(min=1)
    if options.dice_weight:
        scores = []
        for index in range(len(CLASSES)):
            own = labels == index
            if own.any():
                predicted = probabilities[:, index][valid].sum()
                scores.append(2 * probabilities[:, index][own].sum() / (predicted + own.sum()))
        loss = loss + options.dice_weight * (1 - sum(scores) / max(len(scores), 1)) * bool(scores)
    return loss


def ours(logits: Tensor, labels: Tensor, options: Recipe, denominator: Tensor) -> Tensor:
    return combined_loss(logits, labels, options, CLASSES, denominator=denominator, context=Context())


def value_and_gradient(value: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize(("grid", "size"), SIZES)
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_equals_the_reference(grid: tuple[int, int], size: tuple[int, int], options: dict) -> None:
    logits, labels = sample(grid, size, torch.float64)
    arguments = logits, labels, recipe(**options), torch.tensor(labels.numel(), dtype=torch.float64)
    expected = value_and_gradient(reference(*arguments), logits)
    torch.testing.assert_close(value_and_gradient(ours(*arguments), logits), expected, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_float32_equals_the_reference(options: dict) -> None:
    logits, labels = sample((8, 8), (32, 32), torch.float32)
    arguments = labels, recipe(**options), torch.tensor(labels.numel())
    exact = logits.detach().double().requires_grad_()
    value, gradient = value_and_gradient(ours(logits, *arguments), logits)
    expected, expected_gradient = value_and_gradient(reference(exact, *arguments), exact)
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_half_precision_is_computed_in_float32(options: dict) -> None:
    logits, labels = sample((8, 8), (32, 32), torch.bfloat16)
    arguments = labels, recipe(**options), torch.tensor(labels.numel())
    exact = logits.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        value, gradient = value_and_gradient(ours(logits, *arguments), logits)
    expected, expected_gradient = value_and_gradient(ours(exact, *arguments), exact)
    assert value.dtype == torch.float32 and gradient.dtype == torch.bfloat16
    assert torch.equal(value, expected) and torch.equal(gradient, expected_gradient.bfloat16())


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_size_of_tiles_does_not_matter(options: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = sample((5, 7), (33, 29), torch.float64)
    arguments = logits, labels, recipe(**options), torch.tensor(labels.numel())
    values = []
    for elements, side in ((1, 7), (2 * 5 * 29 * 3, 512), (2**30, 5), (2**30, 512)):
        monkeypatch.setattr(tiles, "_TILE_ELEMENTS", elements)
        monkeypatch.setattr(tiles, "_TILE_SIDE", side)
        values.append(value_and_gradient(ours(*arguments), logits))
    for value in values[1:]:
        torch.testing.assert_close(value, values[0], rtol=1e-12, atol=1e-15)


def test_equal_weights_are_the_plain_cross_entropy() -> None:
    logits, labels = sample((8, 8), (32, 32), torch.float64)
    arguments = labels, recipe(class_weights=dict.fromkeys(CLASSES, 1.0)), torch.tensor(labels.numel())
    expected = value_and_gradient(upsampled_cross_entropy(logits, labels), logits)
    actual = value_and_gradient(ours(logits, *arguments), logits)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_all_void_gives_zero_and_no_gradient(options: dict) -> None:
    logits, _ = sample((2, 2), (8, 8), torch.float32)
    labels = torch.full((2, 8, 8), 255, dtype=torch.uint8)
    value, gradient = value_and_gradient(
        ours(logits, labels, recipe(**options), torch.tensor(labels.numel())), logits
    )
    assert value == 0 and (gradient == 0).all()


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_give_a_loss_that_is_not(options: dict, value: float) -> None:
    """The training then names the step."""
    logits, labels = sample((8, 8), (32, 32), torch.float32)
    logits.data[0, 0, 4, 4] = value
    loss = ours(logits, labels, recipe(**options), torch.tensor(labels.numel()))
    assert not loss.isfinite()


def test_a_perfect_prediction_has_no_dice_loss() -> None:
    labels = torch.randint(0, 5, (2, 8, 8), generator=torch.Generator().manual_seed(0))
    logits = (functional.one_hot(labels, 5).permute(0, 3, 1, 2).double() * 100).requires_grad_()
    for right, expected in ((labels, 0.0), ((labels + 1) % 5, 1.0)):
        loss = ours(
            logits, right, recipe(dice_weight=1.0, class_weights=dict.fromkeys(CLASSES, 0.0)), torch.tensor(1)
        )
        assert loss.item() == pytest.approx(expected, abs=1e-12)


def test_a_label_that_is_no_class_is_refused() -> None:
    with pytest.raises(DataError, match="label 5 is invalid"):
        labels = torch.full((2, 8, 8), 5, dtype=torch.uint8)
        ours(torch.zeros(2, 5, 2, 2), labels, recipe(dice_weight=1.0), torch.tensor(1))
