"""One optimiser step: the loss of the global batch, its gradients and the weight update."""

import math
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.recipe import Recipe
from regproxy.data.loader import Batch, normalise
from regproxy.data.order import torch_seed
from regproxy.errors import UserError
from regproxy.model.regions import class_counts, region_loss
from regproxy.runs.trial import Trial
from regproxy.train.combined_loss import combined_loss
from regproxy.train.context import Context
from regproxy.train.loss import upsampled_cross_entropy
from regproxy.train.optim import learning_rate


class NonFiniteLossError(UserError):
    """The loss became infinite or NaN; training stops because further steps would be meaningless."""


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    rate: float,
    trial: Trial,
    step: int,
    context: Context,
) -> Tensor:
    """Make one optimiser step on the global batch and return this worker's share of its loss, a scalar.

    The shares of all workers add up to the loss of the global batch. The random draws of drop path depend on
    the micro-batch's index in the global batch, not on the worker that computes it.

    Args:
        rate: the schedule's learning rate; each group of the optimiser multiplies it by its `lr_factor`.
    """
    recipe = trial.variant.recipe
    micro_batches = [next(batches).to(context.device) for _ in range(recipe.grad_accum_steps)]
    pixels = torch.zeros((), dtype=torch.float64, device=context.device)  # that the loss is averaged over
    for batch in micro_batches:
        valid = batch.labels != IGNORE_LABEL
        pixels += valid.sum() if recipe.loss_mean == "valid" else valid.numel()
    pixels = context.all_reduce(pixels).clamp(min=1)
    denominator = pixels / context.world_size  # DDP averages gradients over workers; the loss needs their sum
    for group in optimizer.param_groups:
        group["lr"] = rate * group["lr_factor"]
    optimizer.zero_grad(set_to_none=True)
    patch = getattr(model, "module", model).patch  # DistributedDataParallel holds it as `module`
    regularised = recipe.region_loss != "none"
    total = torch.zeros((), device=context.device)
    for index, batch in enumerate(micro_batches):
        torch.manual_seed(torch_seed(trial.seed, step, index * context.world_size + context.rank))
        images = normalise(batch.images, recipe.image_mean, recipe.image_std, batch.sizes)
        with context.no_sync(model) if index + 1 < len(micro_batches) else nullcontext():
            with torch.autocast(context.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits, affinity = (
                    model(images, return_affinity=True) if regularised else (model(images), None)
                )
            shared, classes = {"denominator": denominator, "patch": patch}, trial.variant.data.classes
            if recipe.has_plain_loss:
                loss = upsampled_cross_entropy(logits, batch.labels, IGNORE_LABEL, **shared)
            else:
                loss = combined_loss(logits, batch.labels, recipe, classes, context=context, **shared)
            if regularised:
                counts = class_counts(batch.labels, affinity, num_classes=logits.shape[1], patch=patch)
                term = region_loss(affinity, counts, recipe.region_loss)
                loss = loss + recipe.region_loss_weight / len(micro_batches) * term
            loss.backward()
        total += loss.detach() / context.world_size
    if recipe.clip_gradient is not None:  # every worker holds the gradients of the global batch
        nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_gradient)
    optimizer.step()
    return total


def finite_losses(losses: list[Tensor], last_step: int, recipe: Recipe, context: Context) -> list[float]:
    """Return the losses of the steps up to `last_step`, each summed over all workers.

    Raises:
        NonFiniteLossError: a loss is infinite or NaN; names its step and learning rate.
    """
    values = context.all_reduce(torch.stack(losses)).tolist()
    for step, value in enumerate(values, start=last_step - len(values) + 1):
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss is {value} at step {step} with learning rate {learning_rate(recipe, step):.3g}; "
                f"lower the learning rate or lengthen the warm-up"
            )
    return values
