"""AdamW's decay groups and the learning rate as a function of the step (recipe of the paper's release)."""

import math

import torch
from torch import nn

from regproxy.config.variant import Recipe

_UNDECAYED_TOKENS = ("pos_embed", "cls_token", "dist_token")
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


def undecayed_parameters(model: nn.Module) -> set[str]:
    """Names the parameters without weight decay: the backbone's norms, position embedding and tokens.

    Everything else decays, the head's BN parameters and all other biases included.
    """
    names = set()
    for module_name, module in model.named_modules():
        if not f"{module_name}.".startswith("backbone."):
            continue
        for name, _ in module.named_parameters(prefix=module_name, recurse=False):
            if isinstance(module, _NORMS) or name.rsplit(".", 1)[-1] in _UNDECAYED_TOKENS:
                names.add(name)
    return names


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Returns AdamW over two groups, with and without decay; the learning rate is set before each step."""
    undecayed = undecayed_parameters(model)
    groups: list[dict] = [
        {"params": [], "weight_decay": recipe.weight_decay},
        {"params": [], "weight_decay": 0.0},
    ]
    for name, parameter in model.named_parameters():
        groups[name in undecayed]["params"].append(parameter)
    # Fused: one pass over the weights, on CPU as on GPU.
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Returns the learning rate of step 0..steps-1: the schedule's value times the linear warm-up."""
    shapes = {"poly": poly, "cosine_restart": cosine_restart}
    return recipe.learning_rate * shapes[recipe.schedule](recipe, step) * warmup(recipe, step)


def poly(recipe: Recipe, step: int) -> float:
    """Falls linearly from 1 at step 0 towards 0 at the last step's end."""
    return 1 - step / recipe.steps


def cosine_restart(recipe: Recipe, step: int) -> float:
    """Falls from the period's weight to 0 by half a cosine, once a period."""
    start = 0
    for period, weight in zip(recipe.cosine_periods, recipe.cosine_weights, strict=True):
        if step < start + period:
            return weight * 0.5 * (1 + math.cos(math.pi * (step - start) / period))
        start += period
    raise ValueError(f"step {step} lies past the schedule's {start} steps")


def warmup(recipe: Recipe, step: int) -> float:
    """Rises linearly from `warmup_ratio` at step 0 to 1 at `warmup_steps`."""
    if step >= recipe.warmup_steps:
        return 1.0
    return 1 - (1 - step / recipe.warmup_steps) * (1 - recipe.warmup_ratio)
