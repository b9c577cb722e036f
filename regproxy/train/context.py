"""What the training loop knows of the world around it: its rank, its device and whom to tell.

The loop never imports a scheduler. One process needs the default context; several get one from the
process group that their launcher (Ray Train, torchrun) has made.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from regproxy.model.batch_norm import synchronise_batch_norm


@dataclass(frozen=True)
class Progress:
    """State of a running training: loss is the mean since the last report, speed in images a second."""

    step: int
    steps: int
    loss: float
    learning_rate: float
    images_per_second: float
    seconds_left: float
    val_miou: float | None = None


def _ignore(_: Progress) -> None:
    pass


def _print(text: str) -> None:
    print(text, file=sys.stderr)


@dataclass(frozen=True)
class Context:
    """One worker of a training; only rank 0 calls `report`, with progress, and `note`, with news in words."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    report: Callable[[Progress], None] = _ignore
    note: Callable[[str], None] = _print

    @classmethod
    def current(
        cls, report: Callable[[Progress], None] = _ignore, note: Callable[[str], None] = _print
    ) -> "Context":
        """Returns this process's context: its place in the process group, and its GPU where it has one."""
        cuda = torch.cuda.is_available()
        device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
        if not dist.is_initialized():
            return cls(device=device, report=report, note=note)
        return cls(dist.get_rank(), dist.get_world_size(), device, report, note)

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Returns the model for training: alone as it is, else with gradients averaged over the workers."""
        if self.world_size == 1:
            return model
        return DistributedDataParallel(
            model, device_ids=[self.device] if self.device.type == "cuda" else None
        )

    def synchronise_norms(self, model: nn.Module) -> nn.Module:
        """Makes batch norms take their statistics over all workers; state names stay the same."""
        return synchronise_batch_norm(model, self.device.type) if self.world_size > 1 else model

    def accumulating(self, model: nn.Module) -> AbstractContextManager:
        """While entered, backward passes keep gradients to the worker, for all but a step's last one."""
        return model.no_sync() if self.world_size > 1 else nullcontext()

    def sum(self, tensor: Tensor) -> Tensor:
        """Returns the tensor added up over all workers, in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def wait(self) -> None:
        """Returns when every worker has come here."""
        if self.world_size > 1:
            dist.barrier()
