"""Cross entropy on bilinearly upsampled logits, without ever holding the upsampled logits.

B batch, K classes, h w logits grid, H W label grid. Bilinear interpolation is separable: a band of label
rows is a two-tap mix of a few logit rows, then of columns. The bands' losses add up, and so do their
gradients, which are taken in the forward pass; no band outlives its turn.
"""

from typing import Literal

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

_BAND_ELEMENTS = 2**22  # of upsampled logits held at a time
_MIN_BANDS = 4


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
    if labels.device.type == "cpu":  # elsewhere it would stall the device
        wrong = labels[valid & ((labels < 0) | (labels >= logits.shape[1]))]
        if len(wrong):
            raise ValueError(
                f"label {wrong[0].item()} is no class, allowed are 0 to {logits.shape[1] - 1} "
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
        gradient = torch.zeros_like(values)
        total = values.new_zeros(())
        rows, columns = (
            interpolation_matrix(values.shape[axis], labels.shape[axis - 1], values) for axis in (2, 3)
        )
        with torch.autocast(values.device.type, enabled=False):
            for start, stop in bands(values.shape[1], labels.shape):
                low, high = touched_rows(start, stop, values.shape[2], labels.shape[1])
                band = None if rows is None else rows[start:stop, low:high]
                upsampled = _mix(band, values[:, :, low:high], columns)  # B K band W
                band_total, slope = _cross_entropy_sum(upsampled, labels[:, start:stop], ignore_label)
                total += band_total
                gradient[:, :, low:high] += _mix(_transposed(band), slope, _transposed(columns))
        ctx.save_for_backward(gradient)
        ctx.logits_dtype = logits.dtype
        return total

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


def bands(num_classes: int, label_shape: torch.Size) -> list[tuple[int, int]]:
    """Cuts the label rows into bands (start, stop) of at most a quarter of them and of bounded size."""
    batch, height, width = label_shape
    size = max(min(_BAND_ELEMENTS // (batch * num_classes * width), height // _MIN_BANDS), 1)
    return [(start, min(start + size, height)) for start in range(0, height, size)]


def touched_rows(start: int, stop: int, size_in: int, size_out: int) -> tuple[int, int]:
    """Returns the range of logit rows that the label rows [start, stop) interpolate between."""
    if size_in == size_out:
        return start, stop
    scale = size_in / size_out
    low = max(int((start + 0.5) * scale - 0.5 - 1e-9), 0)  # rounding must not lose a row
    high = max(int((stop - 0.5) * scale - 0.5 + 1e-9), 0) + 2
    return min(low, size_in - 1), min(high, size_in)


def _mix(rows: Tensor | None, values: Tensor, columns: Tensor | None) -> Tensor:
    """Applies a matrix along the rows and one along the columns of (B, K, ., .); None changes nothing."""
    if columns is not None:
        values = values @ columns.T
    return values if rows is None else rows @ values


def _transposed(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.T


def _cross_entropy_sum(logits: Tensor, labels: Tensor, ignore_label: int) -> tuple[Tensor, Tensor]:
    """Returns the summed cross entropy of (B, K, ., .) and its gradient: softmax minus one-hot."""
    valid = (labels != ignore_label)[:, None]
    target = labels.long()[:, None].where(valid, 0)
    log_probability = logits.log_softmax(dim=1)
    total = -log_probability.gather(1, target).where(valid, 0).sum()
    slope = log_probability.exp_()
    slope.scatter_add_(1, target, slope.new_full((), -1.0).expand(target.shape))
    return total, slope.mul_(valid)
