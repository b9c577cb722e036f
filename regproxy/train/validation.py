"""Score the model on the validation split while it trains."""

from pathlib import Path

import torch
from torch import nn

from regproxy.config.recipe import Recipe
from regproxy.data.shards import Shards
from regproxy.eval.metrics import mean_iou
from regproxy.eval.score import confusion_of_shards
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.optim import enter_training_mode


def validates(recipe: Recipe, step: int) -> bool:
    """Return whether the model is scored after `step` steps."""
    return recipe.validate_every is not None and step > 0 and step % recipe.validate_every == 0


def validation_miou(model: nn.Module, trial: Trial, context: Context) -> float:
    """Return the mean IoU (0..1) on the validation split; each of n workers scores every n-th image.

    A network in training mode is in training mode again afterwards.
    """
    shards = Shards(Path(trial.workspace.data_dir), "val")
    indices = range(context.rank, len(shards), context.world_size)
    was_training = model.training
    model.eval()
    matrix = confusion_of_shards(model, shards, trial.variant, indices)
    if was_training:
        enter_training_mode(model)
    return mean_iou(context.all_reduce(torch.from_numpy(matrix).to(context.device)).cpu().numpy())
