"""Which weights are trained and how fast: freezing, AdamW with its groups, the learning rate of each step.

By default all weights are trained as in the authors' release.
"""

import math
import re

import torch
from torch import nn

from regproxy.config.recipe import Recipe
from regproxy.model.backbone import VisionTransformer

_UNDECAYED_TOKENS = ("pos_embed", "cls_token", "dist_token")
_AFTER_BLOCKS = ("norm.", "neck.")  # the final norm; SAM's is a neck
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)


def freeze_backbone(model: nn.Module) -> None:
    """Let a network's backbone compute no gradients; `enter_training_mode` keeps it in eval mode."""
    model.backbone.requires_grad_(False)


def enter_training_mode(model: nn.Module) -> None:
    """Put a network, also a wrapped one, in training mode, but a frozen backbone in eval mode."""
    model.train()
    for module in model.modules():
        if isinstance(module, VisionTransformer):
            module.train(any(parameter.requires_grad for parameter in module.parameters()))


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


def learning_rate_factor(name: str, recipe: Recipe, depth: int) -> float:
    """Return the factor of a parameter's learning rate; see `Recipe`.

    Args:
        name: its name in the network, such as backbone.vit.blocks.3.norm1.weight.
        depth: number of the backbone's blocks.
    """
    own_name = name.removeprefix("backbone.vit.")
    if own_name == name:
        return recipe.head_lr_factor
    if own_name.startswith(_AFTER_BLOCKS):
        distance = 0
    elif block := re.match(r"blocks\.(\d+)\.", own_name):
        distance = depth - int(block[1])
    else:
        distance = depth + 1
    return recipe.backbone_lr_factor * recipe.layer_decay**distance


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW for the parameters that need a gradient, grouped by weight decay and `lr_factor`.

    The caller sets the learning rate of each group. With the default recipe there are two groups: with weight
    decay, and without.
    """
    undecayed, depth = undecayed_parameters(model), len(model.backbone.vit.blocks)
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            key = (name in undecayed, learning_rate_factor(name, recipe, depth))
            groups.setdefault(key, []).append(parameter)
    listed = [
        {"params": groups[key], "weight_decay": 0.0 if key[0] else recipe.weight_decay, "lr_factor": key[1]}
        for key in sorted(groups)
    ]
    # fused makes one pass over the weights, on the CPU too
    return torch.optim.AdamW(listed, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True)


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
