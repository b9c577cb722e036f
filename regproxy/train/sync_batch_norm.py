"""Batch norm with statistics over all workers, on the CPU and on GPUs.

torch's SyncBatchNorm refuses CPU tensors. The class for the CPU uses a differentiable all_reduce instead, so
training with several workers can be tested, and small runs trained, without a GPU.

B batch of this worker, C channels, H W map.
"""

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx


class ProcessGroupBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the batches of all workers, for CPU tensors. A single worker gets BatchNorm2d."""

    def forward(self, values: Tensor) -> Tensor:
        """Return (B, C, H, W) normalised. Update the running statistics in training mode."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(values)
        precise = values.to(torch.promote_types(values.dtype, torch.float32))
        variance, mean = (own.double() for own in torch.var_mean(precise, dim=(0, 2, 3), correction=0))
        local = torch.stack([torch.ones_like(mean), mean, variance + mean.square()]) * precise[:, 0].numel()
        count, total, squares = _SumOverWorkers.apply(local)  # C each
        mean = total / count
        variance = squares / count - mean.square()
        with torch.no_grad():
            unbiased = variance * count / (count - 1)
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
            self.running_var.lerp_(unbiased.to(self.running_var), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        mean, scale, bias = (each.to(precise)[:, None, None] for each in (mean, scale, self.bias))
        return torch.addcmul(bias, precise - mean, scale).to(values)


class _SumOverWorkers(torch.autograd.Function):
    """The sum of a tensor over all workers. Its gradient is that of the sum of all workers' losses."""

    @staticmethod
    def forward(ctx: FunctionCtx, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: FunctionCtx, upstream: Tensor) -> Tensor:
        return _SumOverWorkers.apply(upstream)


def synchronise_batch_norm(model: nn.Module, device_type: str) -> nn.Module:
    """Return the model with every BatchNorm2d replaced by one with statistics over all workers.

    The parameters remain the same objects, and the names in the state dict do not change.

    Args:
        device_type: the device on which the model will run, "cpu" or "cuda".
    """
    if device_type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            assert module.affine and module.track_running_stats and module.momentum is not None
            module.__class__ = ProcessGroupBatchNorm2d  # it has the same attributes and another forward pass
    return model
