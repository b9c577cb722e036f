"""Cross entropy on bilinearly upsampled logits, without holding the upsampled logits.

Labels are cut into tiles. A tile's upsampled logits are a small matrix times a few columns of logits, then
another times a few rows, because bilinear interpolation is separable and local. The losses of the tiles add
up, and so do their gradients, which are computed in the forward pass; only one tile exists at a time.

B batch, K classes, h w logit grid, H W label grid, R C a tile's labels, r c the logits they are interpolated
from.
"""

import math
from itertools import product
from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from regproxy.errors import DataError
from regproxy.model.interpolation import bilinear_matrix, source_lines, whole_patches

# The most upsampled logits in a tile, and its longest side in pixels. A CPU needs tiles that fit its cache,
# and small interpolation matrices, which grow with the side. An accelerator needs few and large steps.
_TILE_ELEMENTS, _TILE_SIDE = 2**19, 128
_DEVICE_TILE_ELEMENTS, _DEVICE_TILE_SIDE = 2**23, 512


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
    if logits.ndim != 4 or labels.ndim != 3 or len(logits) != len(labels):
        raise ValueError(
            f"expected logits (B, K, h, w) and labels (B, H, W); "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}"
        )
    if mean_over not in ("all", "valid"):
        raise ValueError(f"mean_over is invalid: expected all or valid; got {mean_over!r}")
    valid = labels != ignore_label
    if labels.device.type == "cpu" and not torch.compiler.is_compiling():  # would make an accelerator wait
        for label in (labels * valid).aminmax():
            if not 0 <= label < logits.shape[1]:
                raise DataError(
                    f"label {label.item()} is invalid: expected 0 to {logits.shape[1] - 1} or "
                    f"{ignore_label}. Prepare the data set again with the right classes."
                )
    total = _UpsampledCrossEntropySum.apply(logits, labels, ignore_label, patch)
    if denominator is None:
        count = valid.sum().clamp(min=1) if mean_over == "valid" else labels.numel()
        return total / count
    return total / denominator.to(total.dtype)


class _UpsampledCrossEntropySum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, logits: Tensor, labels: Tensor, ignore_label: int, patch: int) -> Tensor:
        values = logits.detach().to(torch.promote_types(logits.dtype, torch.float32))
        values = values * math.log2(math.e)  # powers of 2 cost less than powers of e
        gradient = torch.zeros_like(values)
        total = values.new_zeros(())
        row_sizes, column_sizes = (
            (values.shape[axis], whole_patches(labels.shape[axis - 1], patch)) for axis in (2, 3)
        )
        row_matrix, column_matrix = (_matrix(*sizes, values) for sizes in (row_sizes, column_sizes))
        with torch.autocast(values.device.type, enabled=False):
            for images, rows, columns in label_tiles(labels.shape, values.shape[1], values.device):
                source_rows, source_columns = _sources(rows, *row_sizes), _sources(columns, *column_sizes)
                row_part = None if row_matrix is None else row_matrix[rows, source_rows]  # R r
                column_part = None if column_matrix is None else column_matrix[columns, source_columns]  # C c
                source = rearrange(values[images, :, source_rows, source_columns], "b k r c -> b r k c")
                upsampled = _interpolate(row_part, source.contiguous(), column_part)  # b R k C
                total += _cross_entropy_(upsampled, labels[images, rows, columns], ignore_label)
                tile_gradient = _interpolate(_transposed(row_part), upsampled, _transposed(column_part))
                gradient[images, :, source_rows, source_columns] += rearrange(
                    tile_gradient, "b r k c -> b k r c"
                )
        ctx.save_for_backward(gradient)
        ctx.logits_dtype = logits.dtype
        return total * math.log(2)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        (gradient,) = ctx.saved_tensors
        return (gradient * upstream).to(ctx.logits_dtype), None, None, None


def label_tiles(
    label_shape: torch.Size, num_classes: int, device: torch.device
) -> list[tuple[slice, slice, slice]]:
    """Return tiles (images, rows, columns) that cover labels (B, H, W) once, each of bounded size."""
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


def _matrix(size_in: int, size_out: int, like: Tensor) -> Tensor | None:
    """Return the interpolation matrix of one axis, (size_out, size_in), or None if the sizes are equal."""
    return None if size_in == size_out else bilinear_matrix(size_in, size_out, device=like.device).to(like)


def _sources(labels: slice, size_in: int, size_out: int) -> slice:
    """Return the logits along an axis that some labels' logits are interpolated from."""
    lines = source_lines(size_in, size_out, range(labels.start, labels.stop))
    return slice(lines.start, lines.stop)


def _interpolate(rows: Tensor | None, values: Tensor, columns: Tensor | None) -> Tensor:
    """Apply a matrix along the rows and one along the columns of (b, r, k, c); None changes nothing."""
    if columns is not None:
        values = values @ columns.T
    return values if rows is None else (rows @ values.flatten(2)).unflatten(2, values.shape[2:])


def _transposed(matrix: Tensor | None) -> Tensor | None:
    return None if matrix is None else matrix.T


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
