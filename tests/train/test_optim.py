"""Learning rates against closed forms, and the weight decay groups by name."""

import math

import pytest
import torch

from regproxy.config.profile_file import load_profile
from regproxy.config.recipe import Recipe
from regproxy.model.build import build
from regproxy.train.optim import build_optimizer, learning_rate, undecayed_parameters

POLY = Recipe(steps=80_000, crop=(512, 512), scale=(2048, 512))
COSINE = Recipe(
    steps=160_000,
    crop=(512, 512),
    scale=(2048, 512),
    schedule="cosine_restart",
    cosine_periods=(20_000, 40_000, 100_000),
    cosine_weights=(1.0, 0.5, 0.25),
)


def test_warm_up_starts_at_the_printed_value() -> None:
    assert learning_rate(POLY, 0) == pytest.approx(6e-11, rel=1e-9)
    assert learning_rate(COSINE, 0) == pytest.approx(6e-11, rel=1e-9)


@pytest.mark.parametrize("step", [1500, 1501, 40_000, 79_999])
def test_poly_is_linear_after_the_warm_up(step: int) -> None:
    assert learning_rate(POLY, step) == pytest.approx(6e-5 * (1 - step / 80_000), rel=1e-12)


@pytest.mark.parametrize("step", [1, 700, 1499])
def test_warm_up_multiplies_the_current_value(step: int) -> None:
    factor = 1 - (1 - step / 1500) * (1 - 1e-6)
    assert learning_rate(POLY, step) == pytest.approx(6e-5 * (1 - step / 80_000) * factor, rel=1e-12)


@pytest.mark.parametrize(
    ("step", "weight", "fraction"),
    [
        (19_999, 1.0, 19_999 / 20_000),
        (20_000, 0.5, 0.0),
        (40_000, 0.5, 0.5),
        (60_000, 0.25, 0.0),
        (110_000, 0.25, 0.5),
    ],
)
def test_cosine_restarts_at_its_weights(step: int, weight: float, fraction: float) -> None:
    expected = 6e-5 * weight * 0.5 * (1 + math.cos(math.pi * fraction))
    assert learning_rate(COSINE, step) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["linear", "region-4x4"])
def test_decay_groups_are_those_of_the_recipe(name: str) -> None:
    variant = next(variant for variant in load_profile("smoke").variants if variant.name == name)
    model = build(variant)
    undecayed = undecayed_parameters(model)
    for parameter in (name for name, _ in model.named_parameters()):
        in_backbone = parameter.startswith("backbone.")
        is_norm = ".norm" in parameter
        is_token = parameter.endswith(("pos_embed", "cls_token", "dist_token"))
        assert (parameter in undecayed) == (in_backbone and (is_norm or is_token)), parameter
    decayed, free = build_optimizer(model, variant.recipe).param_groups
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.01, 0.0)
    assert len(free["params"]) == len(undecayed) == 2 + 2 * 2 * 2 + 2  # tokens, two norms a block, final norm
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))
    assert isinstance(decayed["params"][0], torch.nn.Parameter)
