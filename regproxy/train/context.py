"""One worker of a training: its rank, its device and its communication with the other workers.

The training loop never imports a scheduler. A single process uses the default context. Several processes take
theirs from the process group that their launcher (Ray Train, torchrun) has created.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from regproxy.model.device import default_device


@dataclass(frozen=True)
class Context:
    """The place of a worker in its training; every method that communicates must be called by all workers."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @classmethod
    def current(cls) -> "Context":
        """Return this process's context: its rank in the process group, and its GPU if it has one."""
        if not dist.is_initialized():
            return cls(device=default_device())
        return cls(dist.get_rank(), dist.get_world_size(), default_device())

    @property
    def is_main(self) -> bool:
        """Whether this worker writes the files of the run (rank 0)."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model for training; with several workers it averages gradients over them."""
        if self.world_size == 1:
            return model
        device_ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=device_ids)

    def no_sync(self, model: nn.Module) -> AbstractContextManager:
        """Return a context in which backward passes accumulate gradients without averaging over workers."""
        return model.no_sync() if self.world_size > 1 else nullcontext()

    def all_reduce(self, tensor: Tensor) -> Tensor:
        """Return the sum of the tensor over all workers, computed in place."""
        if self.world_size > 1:
            dist.all_reduce(tensor)
        return tensor

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on at least one worker."""
        return bool(self.all_reduce(torch.tensor(float(flag), device=self.device)))

    def barrier(self) -> None:
        """Wait until every worker has reached this call."""
        if self.world_size > 1:
            dist.barrier()
