"""Cross entropy on bilinearly upsampled logits, without holding the upsampled logits.

Labels are cut into tiles. The losses of the tiles add up, and so do their gradients, which are computed in
the forward pass; only one tile exists at a time.

B batch, K classes, h w logit grid, H W label grid, R C a tile's labels.
"""

import math
from typing import Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from regproxy.errors import DataError
from regproxy.train.tiles import Upsampling, label_tiles


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_label: int = 255,
    mean_over: Literal["all", "valid"] = "all",
    *,
    denominator: Tensor | None = None,
    patch: int = 1,
) -> Tensor:
    """Return the cross entropy of logits that are interpolated to the labels' pixels, a scalar.

    Equals `cross_entropy(interpolate(logits, size, mode="bilinear", align_corners=False), labels)`, computed
    in float32 or the logits' type, whichever is more precise. `size` is that of the labels, rounded up to
    whole patches, and the interpolated logits beyond the labels are cut off.

    Args:
        logits: (B, K, h, w), any floating type.
        labels: (B, H, W) integer classes, of any size.
        ignore_label: the label of pixels that add nothing to the sum.
        mean_over: divide the sum by all B H W pixels (as the authors do) or by the valid ones (at least 1).
        denominator: divide by this instead, for a mean over more than this batch.
        patch: side in pixels to whose multiples the network pads its input.

    Raises:
        ValueError: the shapes do not fit, or `mean_over` is unknown.
        DataError: a label is not a class (checked on the CPU only).
    """
    if mean_over not in ("all", "valid"):
        raise ValueError(f"mean_over is invalid: expected all or valid; got {mean_over!r}")
    check_labels(logits, labels, ignore_label)
    total = _UpsampledCrossEntropySum.apply(logits, labels, ignore_label, patch)
    if denominator is None:
        valid = labels != ignore_label
        return total / (valid.sum().clamp(min=1) if mean_over == "valid" else labels.numel())
    return total / denominator.to(total.dtype)


def check_labels(logits: Tensor, labels: Tensor, ignore_label: int) -> None:
    """Raise unless labels (B, H, W) are classes of the logits (B, K, h, w) or `ignore_label`.

    Raises:
        ValueError: the shapes do not fit.
        DataError: a label is not a class (checked on the CPU only).
    """
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError(
            f"expected logits (B, K, h, w) and labels (B, H, W); "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    valid = labels != ignore_label
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():  # would make an accelerator wait
        for label in (labels * valid).aminmax():
            if not 0 <= label < logits.shape[1]:
                raise DataError(
                    f"label {label.item()} is invalid: expected 0 to {logits.shape[1] - 1} or "
                    f"{ignore_label}. Prepare the data set again with the right classes."
                )


class _UpsampledCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, labels: Tensor, ignore_label: int, patch: int) -> Tensor:
        values = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        values = values * math.log2(math.e)  # powers of 2 cost less than powers of e
        gradient = torch.zeros_like(values)
        total = values.new_zeros(())
        upsampling = Upsampling(values, labels.shape[1:], patch)
        with torch.autocast(values.device.type, enabled=False):
            for tile in label_tiles(labels.shape, values.shape[1], values.device):
                upsampled = upsampling.upsample(tile)
                total += _cross_entropy_(upsampled, labels[tile], ignore_label)
                upsampling.add_gradient(gradient, tile, upsampled)
        ctx.save_for_backward(gradient)
        ctx.logits_dtype = logits.dtype
        return total * math.log(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream).to(ctx.logits_dtype), None, None, None


def _cross_entropy_(logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
    """Return the summed cross entropy, base 2, of (b, R, k, C) to labels (b, R, C).

    Overwrite the logits with the gradient: softmax minus one-hot.
    """
    labels = labels.unsqueeze(2)
    valid = labels != ignore_label
    target = (labels * valid).long()
    weight = valid.to(logits.dtype)
    logits -= logits.amax(dim=2, keepdim=True)
    chosen = logits.gather(2, target)
    powers = logits.exp2_()
    norm = powers.sum(dim=2, keepdim=True)
    total = (norm.log2() - chosen).mul_(weight).sum()
    powers.scatter_(2, target, chosen.exp2_() - norm)  # one element a pixel: deterministic on every device
    powers *= weight.div_(norm)
    return total
