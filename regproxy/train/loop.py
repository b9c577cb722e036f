"""The training, as one story from the first step to the last."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import Tensor

from regproxy.data.loader import micro_batches
from regproxy.data.order import torch_seed
from regproxy.data.shards import Shards
from regproxy.errors import StorageError
from regproxy.model.build import build
from regproxy.runs.history import History
from regproxy.runs.saved_model import save_model
from regproxy.runs.trial import Trial
from regproxy.train import checkpoint
from regproxy.train.average import start_average, update_average
from regproxy.train.context import Context
from regproxy.train.optim import build_optimizer, enter_training_mode, freeze_backbone, learning_rate
from regproxy.train.progress import Progress, Training
from regproxy.train.starting_weights import load_starting_weights
from regproxy.train.step import finite_losses, update
from regproxy.train.sync_batch_norm import synchronise_batch_norm
from regproxy.train.validation import validates, validation_miou


def train(
    trial: Trial,
    context: Context,
    *,
    git_commit: str | None = None,
    upload: Callable[[Path], str | None] | None = None,
) -> Training:
    """Train a trial from its last checkpoint to its end, yield each report and return the run record.

    Closing the generator saves a checkpoint of the step that it reported last. A checkpoint is also saved
    before each validation, so an interrupted validation is repeated when the training resumes. All workers of
    a trial run this function; they yield after the same steps and must be closed after the same step.

    Args:
        trial: `run.json`, `model.safetensors` and `metrics.jsonl` are written to its run folder by rank 0.
        git_commit: recorded in `run.json`.
        upload: called by rank 0 with each new checkpoint; returns a message for the user if it failed.

    Raises:
        StorageError: the training was closed and `upload` failed; the local checkpoint is saved.
        NonFiniteLossError: the loss became infinite or NaN; names the step and the learning rate.
        ValueError: the number of workers does not divide the batch.
    """
    recipe, device, run_dir = trial.variant.recipe, context.device, Path(trial.workspace.run_dir)
    checkpoints = run_dir / "checkpoints"

    # Model and optimiser, from the last checkpoint if there is one.
    torch.manual_seed(torch_seed(trial.seed, 0, 0))  # every worker starts from the same weights
    model = build(trial.variant)
    start = load_starting_weights(model, trial.variant.model, Path(trial.workspace.pretrained_dir))
    origin = {"started_from": start.record} if start else {}
    if recipe.freeze:
        freeze_backbone(model)
    model = model.to(device)
    if context.world_size > 1:
        model = synchronise_batch_norm(model, device.type)
    optimizer = build_optimizer(model, recipe)
    average = None if recipe.ema_decay is None else start_average(model)
    notes = checkpoint.discard_unusable(checkpoints, trial.fingerprint) if context.is_main else []
    context.barrier()
    first_step = checkpoint.restore(checkpoints, model=model, optimizer=optimizer, average=average)
    if start and start.note and first_step == 0:
        notes.append(start.note)
    saved_step = reported_step = first_step
    history = History(run_dir / "metrics.jsonl", first_step) if context.is_main else None
    trained = context.wrap(torch.compile(model) if recipe.compile else model)

    # Data, from the checkpoint's step on.
    batches = micro_batches(
        Shards(Path(trial.workspace.data_dir), "train"),
        recipe,
        trial.seed,
        first_step=first_step,
        rank=context.rank,
        world_size=context.world_size,
        pin_memory=device.type == "cuda",
    )

    final = model if average is None else average  # what is validated and saved

    def save(step: int) -> None:
        nonlocal saved_step
        if context.is_main:
            state = {"model": model, "optimizer": optimizer, "average": average}
            path = checkpoint.save(checkpoints, step=step, trial=trial, **state)
            if upload and (problem := upload(path)):
                notes.append(problem)
        saved_step = step
        context.barrier()

    def report(progress: Progress) -> Progress:
        nonlocal reported_step
        progress = replace(progress, notes=tuple(notes))
        notes.clear()
        reported_step = progress.step
        return progress

    def validate(progress: Progress) -> Progress:
        progress = replace(progress, val_miou=validation_miou(final, trial, context), time=time.time())
        if history:
            history.write(progress.step, time=progress.time, val_miou=progress.val_miou)
        return report(progress)

    started = time.monotonic()
    final_loss = history.last_loss if history else math.nan
    enter_training_mode(trained)
    try:
        yield report(Progress(first_step, recipe.steps, started=history.started if history else None))
        missing = history is not None and first_step > 0 and not history.has_validation(first_step)
        if validates(recipe, first_step) and context.any(missing):
            yield validate(Progress(first_step, recipe.steps))
        losses: list[Tensor] = []
        window_started = time.monotonic()
        for step in range(first_step, recipe.steps):
            rate = learning_rate(recipe, step)
            losses.append(update(trained, optimizer, batches, rate, trial, step, context))
            if average is not None:
                update_average(average, model, recipe.ema_decay, step)

            done = step + 1
            last = done == recipe.steps
            save_now = done % recipe.checkpoint_every == 0 and not last
            validate_now = validates(recipe, done)
            if not (last or save_now or validate_now or done % recipe.log_every == 0):
                continue

            # Losses stay on the device until here, so that the steps between need no synchronisation.
            values = finite_losses(losses, step, recipe, context)
            final_loss = math.fsum(values) / len(values)
            speed = len(values) * recipe.batch_size / (time.monotonic() - window_started)
            seconds_left = (recipe.steps - done) * recipe.batch_size / speed
            progress = Progress(done, recipe.steps, final_loss, rate, speed, seconds_left)
            if history:
                measured = {"loss": final_loss, "learning_rate": rate, "images_per_second": speed}
                history.write(done, time=progress.time, **measured)
            if save_now or validate_now:
                save(done)
            yield report(progress)
            if validate_now:
                yield validate(progress)
            losses, window_started = [], time.monotonic()
    except GeneratorExit:
        if reported_step > saved_step:
            save(reported_step)
            if notes:
                raise StorageError(notes[-1]) from None
        raise

    seconds = round(time.monotonic() - started, 3)
    measured = {
        "steps": recipe.steps,
        "final_loss": final_loss,
        "seconds": seconds,
        "resumed_at_step": first_step,
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "num_trained_parameters": sum(one.numel() for one in model.parameters() if one.requires_grad),
        "workers": context.world_size,
        "device": str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        "images_per_second": round((recipe.steps - first_step) * recipe.batch_size / max(seconds, 1e-9), 2),
    }
    if not context.is_main:
        return measured
    save_model(final, run_dir)
    began = datetime.fromtimestamp(history.started, UTC).isoformat(timespec="milliseconds")
    record = trial.write_record({"started": began, **measured, **origin}, git_commit)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return record
