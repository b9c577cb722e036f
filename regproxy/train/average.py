"""The moving average of a network's weights (EMA) over the steps of its training."""

import copy

import torch
from torch import nn


def start_average(model: nn.Module) -> nn.Module:
    """Return the average before the first step: a copy of the network, in eval mode."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the weights after a step, counted from 0.

    The average keeps the share min(decay, (1 + step) / (10 + step)), so that it forgets the first weights
    early. Batch norm's running mean and variance are averaged like weights; the number of batches that it has
    seen is copied.
    """
    decay = min(decay, (1 + step) / (10 + step))
    averages, values = [], []
    for own, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if own.is_floating_point():
            averages.append(own)
            values.append(new)
        else:
            own.copy_(new)
    torch._foreach_lerp_(averages, values, 1 - decay)
