"""Trainings on several workers without a cluster: plain processes that meet in a file."""

import tempfile
from pathlib import Path

import cv2
import torch
from torch import distributed, multiprocessing

from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.remote import train_anywhere
from regproxy.train.stop import Stopped


def train_together(trial: Trial, workers: int, *, told: int | None = None) -> list[int | None]:
    """Trains on so many workers; the last is told to stop after `told` steps of its own.

    Returns the step after which each stopped, None for one that came to the end.
    """
    queue = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as place:
        arguments = (workers, trial, told, str(Path(place) / "meeting"), queue)
        multiprocessing.start_processes(_work, arguments, nprocs=workers, start_method="spawn")
    return [queue.get() for _ in range(workers)]


def _work(rank: int, workers: int, trial: Trial, told: int | None, meeting: str, queue) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    distributed.init_process_group("gloo", init_method=f"file://{meeting}", rank=rank, world_size=workers)
    made = 0

    def stopping() -> bool:
        nonlocal made
        made += 1
        return rank == workers - 1 and told is not None and made >= told

    try:
        train_anywhere(trial, Context.current(stopping=stopping))
        queue.put(None)
    except Stopped as stop:
        queue.put(stop.step)
    distributed.destroy_process_group()
