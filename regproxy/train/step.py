"""One step of a training: the loss of the global batch, its gradients, one move of the weights."""

import math
from collections.abc import Iterator
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from regproxy.config.variant import IGNORE_LABEL, Recipe
from regproxy.data.loader import Batch, normalise
from regproxy.data.order import torch_seed
from regproxy.model.regions import crop_counts, region_loss
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loss import upsampled_cross_entropy
from regproxy.train.optim import learning_rate


class NonFiniteLossError(RuntimeError):
    """The loss is no longer a number; the run stops instead of training on nonsense."""


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    rate: float,
    trial: Trial,
    step: int,
    context: Context,
) -> Tensor:
    """Makes one optimiser step on the global batch; returns this worker's part of the loss, a scalar.

    The parts add up to the loss over all workers, whose mean runs over the pixels of the whole batch. Drop
    path draws by the micro-batch's place in it, whichever worker has it.
    """
    recipe = trial.variant.recipe
    parts = [next(batches).to(context.device) for _ in range(recipe.grad_accum_steps)]
    pixels = sum(count_pixels(part.labels, recipe) for part in parts)
    pixels = context.sum(pixels.double()).clamp(min=1)
    share = pixels / context.world_size  # gradients are averaged over the workers, not added
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=context.device)
    for index, part in enumerate(parts):
        torch.manual_seed(torch_seed(trial.seed, step, index * context.world_size + context.rank))
        images = normalise(part.images, recipe.image_mean, recipe.image_std, part.sizes)
        with context.accumulating(model) if index + 1 < len(parts) else nullcontext():
            with torch.autocast(context.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits, affinity = forward(model, images, recipe)
            loss = upsampled_cross_entropy(logits, part.labels, IGNORE_LABEL, denominator=share)
            if affinity is not None:
                counts = crop_counts(
                    part.labels, affinity, num_classes=logits.shape[1], patch=patch_of(model)
                )
                term = region_loss(affinity, counts, recipe.region_loss)
                loss = loss + recipe.region_loss_weight / len(parts) * term
            loss.backward()
        total += loss.detach() / context.world_size
    optimizer.step()
    return total


def forward(model: nn.Module, images: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor | None]:
    """Returns the logits and, where the recipe regularises regions, the affinity."""
    return (model(images), None) if recipe.region_loss == "none" else model(images, return_affinity=True)


def patch_of(model: nn.Module) -> int:
    """Returns the token's side in pixels, of a network that may be wrapped for several workers."""
    return getattr(model, "module", model).patch


def count_pixels(labels: Tensor, recipe: Recipe) -> Tensor:
    """Returns over how many pixels the loss mean runs: all of them, or those that are not void."""
    if recipe.loss_mean == "all":
        return torch.tensor(labels.numel(), device=labels.device)
    return (labels != IGNORE_LABEL).sum()


def finite_losses(losses: list[Tensor], last_step: int, recipe: Recipe, context: Context) -> list[float]:
    """Returns the waiting losses, each over all workers; raises NonFiniteLossError."""
    values = context.sum(torch.stack(losses)).tolist()
    for step, value in enumerate(values, start=last_step - len(values) + 1):
        if not math.isfinite(value):
            raise NonFiniteLossError(
                f"the loss is {value} at step {step} with learning rate {learning_rate(recipe, step):.3g}; "
                f"lower the learning rate or lengthen the warm-up"
            )
    return values
