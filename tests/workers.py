"""Train on several workers without a cluster: plain processes that meet in a file."""

import tempfile
from pathlib import Path

import cv2
import torch
from torch import distributed, multiprocessing

from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.remote import train_anywhere


def train_together(trial: Trial, workers: int, *, close_after: int | None = None) -> list[int | None]:
    """Train on several workers, which close their training at its first report at or after `close_after`.

    Return the step at which each was closed, None for one that finished.
    """
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        arguments = (workers, trial, close_after, str(Path(folder) / "rendezvous"), queue)
        multiprocessing.start_processes(_work, arguments, nprocs=workers, start_method="spawn")
    return [queue.get() for _ in range(workers)]


def _work(rank: int, workers: int, trial: Trial, close_after: int | None, meeting: str, queue) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)
    closed = None
    training = train_anywhere(trial, Context.current())
    for progress in training:
        if close_after is not None and progress.step >= close_after:
            closed = progress.step
            training.close()
    queue.put(closed)
    distributed.destroy_process_group()
