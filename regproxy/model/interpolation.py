"""Bilinear interpolation along one axis as a matrix, as a whole or in parts (align_corners False).

A line is a row or a column. Interpolation is separable: rows and columns each have their own matrix.
"""

import torch
from torch import Tensor


def bilinear_matrix(
    size_in: int,
    size_out: int,
    outputs: range | None = None,
    inputs: range | None = None,
    *,
    device: torch.device | None = None,
) -> Tensor:
    """Return the matrix that interpolates `size_in` lines to `size_out` lines, float64 (outputs, inputs).

    Each row has at most two entries that are not 0, and they sum to 1.

    Args:
        outputs: the output lines to compute; all by default.
        inputs: the input lines to keep; all by default. They must contain `source_lines` of the outputs.
    """
    outputs = range(size_out) if outputs is None else outputs
    inputs = range(size_in) if inputs is None else inputs
    rows, columns = (
        torch.arange(lines.start, lines.stop, dtype=torch.float64, device=device)
        for lines in (outputs, inputs)
    )
    positions = ((rows + 0.5) * (size_in / size_out) - 0.5).clamp(0, size_in - 1)
    return (1 - (positions[:, None] - columns).abs()).clamp(min=0)


def source_lines(size_in: int, size_out: int, outputs: range) -> range:
    """Return the input lines that output lines are interpolated from, at most one too many at each end."""
    if size_in == size_out:
        return outputs
    first, last = (max((line + 0.5) * size_in / size_out - 0.5, 0.0) for line in (outputs[0], outputs[-1]))
    # The tolerance makes up for rounding: one line too many is harmless, one too few is not.
    return range(min(int(max(first - 1e-9, 0.0)), size_in - 1), min(int(last + 1e-9) + 2, size_in))


def whole_patches(size: int, patch: int) -> int:
    """Return `size` pixels rounded up to whole patches: the network pads its input, so logits cover these."""
    return (size + patch - 1) // patch * patch


def parts(size: int, step: int) -> list[slice]:
    """Return slices of at most `step` lines that cover `size` lines once, in order."""
    return [slice(start, min(start + step, size)) for start in range(0, size, step)]
