"""Cross entropy on bilinearly upsampled logits, without ever holding the upsampled logits.

B batch, K classes, h w logits grid, H W label grid; R C rows and columns of a tile of labels, r c of the
logits around it. Bilinear interpolation is separable and local: a tile of upsampled logits is a small matrix
times a few columns of logits, then another times a few rows. The tiles' losses add up, and so do their
gradients, which are taken in the forward pass; no tile outlives its turn.
"""

import math
from itertools import product
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

# Upsampled logits held at a time, and the longest side of a tile. A processor wants a tile that stays in its
# cache, and matrices, which grow with the side, that stay small; an accelerator wants few and large steps.
_TILE_ELEMENTS, _TILE_SIDE = 2**19, 128
_DEVICE_TILE_ELEMENTS, _DEVICE_TILE_SIDE = 2**23, 512


def upsampled_cross_entropy(
    logits: Tensor,
    labels: Tensor,
    ignore_label: int = 255,
    mean_over: Literal["all", "valid"] = "all",
    *,
    denominator: Tensor | None = None,
) -> Tensor:
    """Equals cross entropy on logits interpolated to the labels' size (bilinear, align_corners False).

    Args:
        logits: (B, K, h, w), any floating type; the loss is computed in float32 at least.
        labels: (B, H, W) integer classes, of any size.
        ignore_label: pixels of this label add nothing.
        mean_over: divide by all B H W pixels (the authors' way) or by the valid ones (0 if there are none).
        denominator: divides instead, where the mean runs over more than this batch.

    Returns:
        A scalar in the computing type.

    Raises:
        ValueError: shapes that do not belong together, an unknown mean, or (on CPU) a label that is no class.
    """
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError(
            f"expected logits (B, K, h, w) and labels (B, H, W), "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if mean_over not in ("all", "valid"):
        raise ValueError(f"mean_over {mean_over!r} is not known, allowed are all, valid")
    valid = labels != ignore_label
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():  # elsewhere it would stall
        for label in (labels * valid).aminmax():
            if not 0 <= label < logits.shape[1]:
                raise ValueError(
                    f"label {label.item()} is no class, allowed are 0 to {logits.shape[1] - 1} "
                    f"and {ignore_label}"
                )
    total = _UpsampledCrossEntropySum.apply(logits, labels, ignore_label)
    if denominator is None:
        count = valid.sum().clamp(min=1) if mean_over == "valid" else labels.numel()
        return total / count
    return total / denominator.to(total.dtype)


class _UpsampledCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
        values = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        values = values * math.log2(math.e)  # powers of two cost less than those of e
        gradient = torch.zeros_like(values)
        total = values.new_zeros(())
        axes = [(values.shape[axis], labels.shape[axis - 1]) for axis in (2, 3)]
        down, across = (interpolation_matrix(*sizes, values) for sizes in axes)
        with torch.autocast(values.device.type, enabled=False):
            for images, rows, columns in tiles(labels.shape, values.shape[1], values.device):
                above, beside = touched(rows, *axes[0]), touched(columns, *axes[1])
                row_mix = None if down is None else down[rows, above]
                column_mix = None if across is None else across[columns, beside]
                patch = rearrange(values[images, :, above, beside], "b k r c -> b r k c").contiguous()
                upsampled = _mix(row_mix, patch, column_mix)  # B R K C
                total += _cross_entropy_(upsampled, labels[images, rows, columns], ignore_label)
                slope = _mix(_transposed(row_mix), upsampled, _transposed(column_mix))
                gradient[images, :, above, beside] += rearrange(slope, "b r k c -> b k r c")
        ctx.save_for_backward(gradient)
        ctx.logits_dtype = logits.dtype
        return total * math.log(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream).to(ctx.logits_dtype), None, None


def interpolation_matrix(size_in: int, size_out: int, like: Tensor) -> Tensor | None:
    """Returns bilinear interpolation along one axis, align_corners False: (size_out, size_in).

    None where the sizes are equal: nothing is interpolated.
    """
    if size_in == size_out:
        return None
    outputs, inputs = (
        torch.arange(size, dtype=torch.float64, device=like.device) for size in (size_out, size_in)
    )
    place = ((outputs + 0.5) * (size_in / size_out) - 0.5).clamp(0, size_in - 1)
    return (1 - (place[:, None] - inputs).abs()).clamp(min=0).to(like)  # two taps a row


def tiles(
    label_shape: torch.Size, num_classes: int, device: torch.device
) -> list[tuple[slice, slice, slice]]:
    """Cuts labels (B, H, W) into tiles (images, rows, columns) of bounded size, at least a row high."""
    elements, side = (
        (_TILE_ELEMENTS, _TILE_SIDE) if device.type == "cpu" else (_DEVICE_TILE_ELEMENTS, _DEVICE_TILE_SIDE)
    )
    batch, height, width = label_shape
    columns = min(width, side)
    rows = min(max(elements // (num_classes * columns), 1), height, side)
    images = max(elements // (num_classes * columns * rows), 1)
    cuts = (
        [slice(start, min(start + step, size)) for start in range(0, size, step)]
        for size, step in ((batch, images), (height, rows), (width, columns))
    )
    return list(product(*cuts))


def touched(part: slice, size_in: int, size_out: int) -> slice:
    """Returns which logits along an axis a part of the labels is interpolated between."""
    if size_in == size_out:
        return part
    scale = size_in / size_out
    low = max(int((part.start + 0.5) * scale - 0.5 - 1e-9), 0)  # rounding must not lose one
    high = max(int((part.stop - 0.5) * scale - 0.5 + 1e-9), 0) + 2
    return slice(min(low, size_in - 1), min(high, size_in))


def _mix(rows: Tensor | None, values: Tensor, columns: Tensor | None) -> Tensor:
    """Applies a matrix along the rows and one along the columns of (B, ., K, .); None changes nothing."""
    if columns is not None:
        values = values @ columns.T
    return values if rows is None else (rows @ values.flatten(2)).unflatten(2, values.shape[2:])


def _transposed(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.T


def _cross_entropy_(logits: Tensor, labels: Tensor, ignore_label: int) -> Tensor:
    """Returns the summed cross entropy, base 2, of (B, R, K, C) to labels (B, R, C).

    Leaves its gradient, softmax minus one-hot, in the place of the logits.
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
    powers.scatter_(2, target, chosen.exp2_() - norm)  # one place a pixel: deterministic on every device
    powers *= weight.div_(norm)
    return total
