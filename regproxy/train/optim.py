"""AdamW with its weight decay groups, and the learning rate of each step (as in the authors' release)."""

import math

import torch
from torch import nn

from regproxy.config.recipe import Recipe

_UNDECAYED_TOKENS = ("pos_embed", "cls_token", "dist_token")
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


def undecayed_parameters(model: nn.Module) -> set[str]:
    """Return the names of the parameters without weight decay.

    These are the backbone's norms, position embedding, cls and dist token. All others decay, including the
    head's batch norm and all biases.
    """
    names = set()
    for name, _ in model.named_parameters():
        owner, _, own_name = name.rpartition(".")
        is_norm = isinstance(model.get_submodule(owner), _NORMS)
        if name.startswith("backbone.") and (is_norm or own_name in _UNDECAYED_TOKENS):
            names.add(name)
    return names


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with two groups: with weight decay, and without. The caller sets the learning rate."""
    undecayed = undecayed_parameters(model)
    groups: list[dict] = [
        {"params": [], "weight_decay": recipe.weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for name, parameter in model.named_parameters():
        groups[name in undecayed]["params"].append(parameter)
    # fused makes one pass over the weights, on the CPU too
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Return the learning rate of a step in 0..steps-1: schedule times linear warm-up."""
    schedules = {"poly": poly, "cosine_restart": cosine_restart}
    return recipe.learning_rate * schedules[recipe.schedule](recipe, step) * warmup(recipe, step)


def poly(recipe: Recipe, step: int) -> float:
    """Return a factor that falls linearly from 1 at step 0 to 0 after the last step."""
    return 1 - step / recipe.steps


def cosine_restart(recipe: Recipe, step: int) -> float:
    """Return a factor that falls from the weight of each period to 0, as half a cosine.

    Raises:
        ValueError: the step is after the last period.
    """
    start = 0
    for period, weight in zip(recipe.cosine_periods, recipe.cosine_weights, strict=True):
        if step < start + period:
            return weight * 0.5 * (1 + math.cos(math.pi * (step - start) / period))
        start += period
    raise ValueError(f"step {step} is invalid: the schedule has {start} steps")


def warmup(recipe: Recipe, step: int) -> float:
    """Return a factor that rises linearly from `warmup_ratio` at step 0 to 1 at `warmup_steps`."""
    if step >= recipe.warmup_steps:
        return 1.0
    return 1 - (1 - step / recipe.warmup_steps) * (1 - recipe.warmup_ratio)
