"""The training, as one story from first to last step."""

import math
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regproxy.config import IGNORE_LABEL, Recipe
from regproxy.data.loader import Batch, micro_batches, normalise
from regproxy.data.order import torch_seed
from regproxy.data.shards import Shards
from regproxy.eval.metrics import mean_iou
from regproxy.eval.score import confusion_of_shards
from regproxy.model.network import build, save_model
from regproxy.model.pretrained import load_pretrained, weights_file
from regproxy.model.regions import crop_counts, region_loss
from regproxy.train import state
from regproxy.train.context import Context
from regproxy.train.history import History
from regproxy.train.loss import upsampled_cross_entropy
from regproxy.train.optim import build_optimizer, learning_rate
from regproxy.train.progress import Progress
from regproxy.train.stop import Stopped, StopVote
from regproxy.train.trial import Trial


class NonFiniteLossError(RuntimeError):
    """The loss is no longer a number; the run stops instead of training on nonsense."""


def train(
    trial: Trial,
    context: Context,
    *,
    git_commit: str | None = None,
    keep: Callable[[Path], None] | None = None,
) -> dict[str, Any]:
    """Trains a trial to its end, from its last checkpoint if it has one, and returns its run record.

    Leaves `run.json`, `model.safetensors` and `metrics.jsonl` in the trial's directory. `keep` is called by
    rank 0 with every new checkpoint.

    Raises:
        NonFiniteLossError: the loss became infinite or NaN; names the step and the learning rate.
        Stopped: the context asked for it; a checkpoint holds all steps made.
        ValueError: the workers do not divide the batch.
    """
    recipe, device, run_dir = trial.cell.recipe, context.device, Path(trial.run_dir)
    checkpoints = run_dir / "checkpoints"

    # Model and optimiser, as they were left.
    torch.manual_seed(torch_seed(trial.seed, 0, 0))  # every worker starts from the same weights
    model = build(trial.cell)
    weights = weights_file(trial.cell.model, Path(trial.pretrained_dir))
    if weights:
        load_pretrained(model.backbone, weights)
    model = model.to(device)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    model = context.synchronise_norms(model)
    optimizer = build_optimizer(model, recipe)
    if context.is_main:
        for problem in state.discard_unusable(checkpoints, trial.identity):
            context.note(problem)
    context.wait()
    first_step = state.restore(checkpoints, model=model, optimizer=optimizer)
    if context.is_main:
        context.begin(first_step)
        if first_step:
            context.note(f"goes on from step {first_step}")
    trained = context.wrap(torch.compile(model) if recipe.compile else model)

    # Data, from where the checkpoint stands.
    train_shards = Shards(Path(trial.data_dir), "train")
    batches = micro_batches(
        train_shards,
        recipe,
        trial.seed,
        first_step=first_step,
        rank=context.rank,
        world_size=context.world_size,
        pin_memory=device.type == "cuda",
    )
    history = History(run_dir / "metrics.jsonl", first_step) if context.is_main else None
    vote = StopVote(context)

    started = window_started = time.monotonic()
    losses: list[Tensor] = []
    final_loss = math.nan
    trained.train()
    for step in range(first_step, recipe.steps):
        rate = learning_rate(recipe, step)
        torch.manual_seed(torch_seed(trial.seed, step, context.rank))
        losses.append(update(trained, optimizer, batches, rate, recipe, context))

        done = step + 1
        last = done == recipe.steps
        stop = vote.stop() and not last
        checkpoint = done % recipe.checkpoint_every == 0 and not last
        validate = recipe.validate_every is not None and done % recipe.validate_every == 0
        tell = last or checkpoint or validate or done % recipe.log_every == 0
        if not (tell or stop):
            continue

        # Losses wait on the device until here, so that the steps between need no synchronisation.
        values = finite_losses(losses, step, recipe, context)
        speed = len(losses) * recipe.batch_size / (time.monotonic() - window_started)
        if history:
            values = history.open_losses + values
        final_loss = math.fsum(values) / len(values)
        val_miou = validation_miou(model, trial, context) if validate else None
        if history and tell:
            history.write(
                done, loss=final_loss, learning_rate=rate, images_per_second=speed, val_miou=val_miou
            )
            seconds_left = (recipe.steps - done) * recipe.batch_size / speed
            context.report(Progress(done, recipe.steps, final_loss, rate, speed, seconds_left, val_miou))
        elif history:
            history.suspend(done, values)
        if context.is_main and (checkpoint or stop):
            saved = state.save(
                checkpoints, step=done, identity=trial.identity, model=model, optimizer=optimizer
            )
            if keep:
                keep(saved)
        context.wait()
        if stop:
            vote.settle()
            raise Stopped(done)
        losses, window_started = [], time.monotonic()
    vote.settle()

    measured = {
        "steps": recipe.steps,
        "final_loss": final_loss,
        "seconds": round(time.monotonic() - started, 3),
        "resumed_at_step": first_step,
        "num_parameters": num_parameters,
        "workers": context.world_size,
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
    }
    measured["images_per_second"] = round(
        (recipe.steps - first_step) * recipe.batch_size / max(measured["seconds"], 1e-9), 2
    )
    if not context.is_main:
        return measured
    save_model(model, run_dir)
    record = trial.write_record(measured, git_commit)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return record


def update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    rate: float,
    recipe: Recipe,
    context: Context,
) -> Tensor:
    """Makes one optimiser step on the global batch; returns this worker's part of the loss, a scalar.

    The parts add up to the loss over all workers, whose mean runs over the pixels of the whole batch.
    """
    parts = [next(batches).to(context.device) for _ in range(recipe.accumulate)]
    pixels = sum(count_pixels(part.labels, recipe) for part in parts)
    pixels = context.sum(pixels.double()).clamp(min=1)
    share = pixels / context.world_size  # gradients are averaged over the workers, not added
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=context.device)
    for index, part in enumerate(parts):
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


def validation_miou(model: nn.Module, trial: Trial, context: Context) -> float:
    """Scores the model on the validation split, each worker taking every n-th image."""
    shards = Shards(Path(trial.data_dir), "val")
    indices = range(context.rank, len(shards), context.world_size)
    model.eval()
    matrix = confusion_of_shards(model, shards, trial.cell, indices)
    model.train()
    return float(mean_iou(context.sum(torch.as_tensor(matrix).to(context.device)).cpu().numpy()))
