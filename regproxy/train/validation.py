"""Scoring in the middle of a training, which a notice to stop may interrupt."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from regproxy.config.variant import Recipe
from regproxy.data.shards import Shards
from regproxy.eval.metrics import mean_iou
from regproxy.eval.score import confusion_of_shards
from regproxy.runs.history import History
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.optim import learning_rate
from regproxy.train.stop import Stopped


def validates(recipe: Recipe, done: int) -> bool:
    """Whether the model is scored after `done` steps."""
    return recipe.validate_every is not None and done > 0 and done % recipe.validate_every == 0


def validation_miou(model: nn.Module, trial: Trial, context: Context) -> float | None:
    """Scores the model on the validation split, each worker taking every n-th image.

    Returns None if a worker is told to stop before its last image: a split may take longer than the notice.
    """
    shards = Shards(Path(trial.data_dir), "val")
    matrix = np.zeros((trial.variant.data.num_classes,) * 2, np.int64)
    model.eval()
    for first in range(0, len(shards), context.world_size):
        if context.anyone(context.stopping()):
            model.train()
            return None
        index = first + context.rank
        if index < len(shards):
            matrix += confusion_of_shards(model, shards, trial.variant, [index])
    model.train()
    return float(mean_iou(context.sum(torch.as_tensor(matrix).to(context.device)).cpu().numpy()))


def catch_up(model: nn.Module, trial: Trial, context: Context, done: int, history: History | None) -> float:
    """Makes the report that a training owes which was told to stop where it validates; returns its loss.

    Raises:
        Stopped: it was told so once more.
    """
    val_miou = validation_miou(model, trial, context)
    if val_miou is None:
        raise Stopped(done)
    if history is None:
        return math.nan
    loss = math.fsum(history.open_losses) / len(history.open_losses)
    rate = learning_rate(trial.variant.recipe, done - 1)
    history.write(done, loss=loss, learning_rate=rate, val_miou=val_miou)
    return loss
