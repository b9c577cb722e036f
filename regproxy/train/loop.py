"""The training, as one story from first to last step."""

import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from regproxy.data.loader import micro_batches
from regproxy.data.order import torch_seed
from regproxy.data.shards import Shards
from regproxy.model.build import build
from regproxy.model.pretrained import load_pretrained, weights_file
from regproxy.runs.history import History
from regproxy.runs.saved_model import save_model
from regproxy.runs.trial import Trial
from regproxy.train import checkpoint as state
from regproxy.train.context import Context
from regproxy.train.optim import build_optimizer, learning_rate
from regproxy.train.progress import Progress
from regproxy.train.step import finite_losses, update
from regproxy.train.stop import Stopped, StopVote
from regproxy.train.validation import catch_up, validates, validation_miou


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
    recipe, device, run_dir = trial.variant.recipe, context.device, Path(trial.run_dir)
    checkpoints = run_dir / "checkpoints"

    # Model and optimiser, as they were left.
    torch.manual_seed(torch_seed(trial.seed, 0, 0))  # every worker starts from the same weights
    model = build(trial.variant)
    weights = weights_file(trial.variant.model, Path(trial.pretrained_dir))
    if weights:
        load_pretrained(model.backbone, weights)
    model = model.to(device)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    model = context.synchronise_norms(model)
    optimizer = build_optimizer(model, recipe)
    if context.is_main:
        for problem in state.discard_unusable(checkpoints, trial.fingerprint):
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

    started = time.monotonic()
    final_loss = math.nan
    trained.train()
    if context.anyone(history is not None and validates(recipe, first_step) and bool(history.open_losses)):
        final_loss = catch_up(model, trial, context, first_step, history)
    losses: list[Tensor] = []
    window_started = time.monotonic()
    for step in range(first_step, recipe.steps):
        rate = learning_rate(recipe, step)
        losses.append(update(trained, optimizer, batches, rate, trial, step, context))

        done = step + 1
        last = done == recipe.steps
        stop = vote.stop() and not last
        checkpoint = done % recipe.checkpoint_every == 0 and not last
        validate = validates(recipe, done)
        tell = last or checkpoint or validate or done % recipe.log_every == 0
        if not (tell or stop):
            continue

        # Losses wait on the device until here, so that the steps between need no synchronisation.
        values = finite_losses(losses, step, recipe, context)
        speed = len(losses) * recipe.batch_size / (time.monotonic() - window_started)
        if history:
            values = history.open_losses + values
        final_loss = math.fsum(values) / len(values)
        val_miou = validation_miou(model, trial, context) if validate and not stop else None
        stop = stop or (validate and val_miou is None)  # then the next start validates, see `catch_up`
        if history and tell and not (stop and validate):
            history.write(
                done, loss=final_loss, learning_rate=rate, images_per_second=speed, val_miou=val_miou
            )
            seconds_left = (recipe.steps - done) * recipe.batch_size / speed
            context.report(Progress(done, recipe.steps, final_loss, rate, speed, seconds_left, val_miou))
        elif history:
            history.suspend(done, values)
        if context.is_main and (checkpoint or stop):
            saved = state.save(
                checkpoints, step=done, fingerprint=trial.fingerprint, model=model, optimizer=optimizer
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
