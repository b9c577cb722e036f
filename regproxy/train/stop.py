"""How a training stops before its end: all its workers after the same step, with a checkpoint."""

from typing import Any

import torch
import torch.distributed as dist

from regproxy.train.context import Context


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """The training was asked to stop, has written a checkpoint and can go on from it."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step

    def __str__(self) -> str:
        return f"stopped after step {self.step}, with a checkpoint"


class StopVote:
    """Asks after each step whether any worker has been told to stop; all get the same answer.

    Alone, the answer is this worker's. Several learn in one step what was asked in the step before: the
    votes travel between the processors' memories (gloo) while a step runs, and nothing waits for a GPU.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._group = dist.new_group(backend="gloo") if context.world_size > 1 else None
        self._vote = torch.zeros(1, dtype=torch.int32)
        self._pending: Any = None

    def stop(self) -> bool:
        """Whether to stop here; every worker must ask, once a step."""
        told = self._context.stopping()
        if self._group is None:
            return told
        agreed = self.settle()
        self._vote.fill_(int(told))
        self._pending = dist.all_reduce(self._vote, dist.ReduceOp.MAX, group=self._group, async_op=True)
        return agreed

    def settle(self) -> bool:
        """Waits for the vote that is under way, as every worker must before it leaves; returns its result."""
        if self._pending is None:
            return False
        self._pending.wait()
        self._pending = None
        return bool(self._vote.item())
