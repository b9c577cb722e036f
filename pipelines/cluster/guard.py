"""A training that reports how it failed instead of taking its process down."""

import socket
import traceback
from collections.abc import Callable

import cv2
import torch

from regproxy.data.loader import is_lost_worker
from regproxy.runs.stored_run import leave_error
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.remote import train_anywhere
from regproxy.train.step import NonFiniteLossError
from regproxy.train.stop import Stopped


def train_guarded(trial: Trial, *, git_commit: str | None, **hooks: Callable) -> str | None:
    """Trains; returns None, or what went wrong in one line, with the traceback in the run's error.log.

    `hooks` are those of `Context`. Where several workers train together, an error that not all of them hit
    is raised: returning would leave the others waiting for this one for ever. So is one that says nothing of
    the training, but that this process must not go on: the trial is then taken up again in a new one.

    Raises:
        Stopped: a hook asked for it.
    """
    cv2.setNumThreads(1)  # the trials are the parallelism
    context = Context.current(**hooks)
    if context.is_main:
        leave_error(trial, None)
    try:
        train_anywhere(trial, context, git_commit=git_commit)
    except Stopped:
        raise
    except Exception as error:
        leave_error(trial, f"on {socket.gethostname()}\n{traceback.format_exc()}")
        alone = context.world_size == 1 or isinstance(error, NonFiniteLossError)
        if not alone or is_lost_worker(error) or isinstance(error, torch.AcceleratorError):
            raise
        return f"{type(error).__name__}: {error}"
    return None
