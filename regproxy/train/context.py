"""What the training loop knows of the world around it: its rank, its device and whom to tell.

The loop never imports a scheduler. One process needs the default context; several get one from the
process group that their launcher (Ray Train, torchrun) has made.
"""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from regproxy.train.progress import Progress
from regproxy.train.sync_batch_norm import synchronise_batch_norm


def _ignore(_: Any) -> None:
    pass


def _never() -> bool:
    return False


def _print(text: str) -> None:
    print(text, file=sys.stderr)


@dataclass(frozen=True)
class Context:
    """One worker of a training, and its hooks to whoever runs it.

    Only rank 0 calls `begin`, with the steps that lie behind it, `report`, with progress, and `note`, with
    news in words. Every rank asks `stopping` once a step and validation image: it must answer at once.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    report: Callable[[Progress], None] = _ignore
    note: Callable[[str], None] = _print
    begin: Callable[[int], None] = _ignore
    stopping: Callable[[], bool] = _never

    @classmethod
    def current(cls, **hooks: Callable) -> "Context":
        """Returns this process's context: its place in the process group, and its GPU where it has one.

        `hooks` are the context's fields that are callables.
        """
        cuda = torch.cuda.is_available()
        device = torch.device("cuda", torch.cuda.current_device()) if cuda else torch.device("cpu")
        if not dist.is_initialized():
            return cls(device=device, **hooks)
        return cls(dist.get_rank(), dist.get_world_size(), device, **hooks)

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

    def anyone(self, told: bool) -> bool:
        """Returns to all workers whether any of them says so."""
        return bool(self.sum(torch.tensor(float(told), device=self.device))) if self.world_size > 1 else told

    def wait(self) -> None:
        """Returns when every worker has come here."""
        if self.world_size > 1:
            dist.barrier()
