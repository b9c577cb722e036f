"""Region histograms, the classes within each token's region (supplement, Eq. 5), and their entropy.

B batch, K classes, X Y label, H W token grid, h w sub-cells a token, n the nine neighbours. The mass of a
class in a region is the number of its pixels, each weighted by its affinity to the region.
"""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional


def class_counts(
    labels: Tensor,
    affinity: Tensor,
    *,
    num_classes: int,
    patch: int,
    corner: tuple[int, int] = (0, 0),
    scale: tuple[float, float] = (1.0, 1.0),
) -> Tensor:
    """Return the number of labelled pixels of each class in each sub-cell, float32 (B, K, H h, W w).

    Args:
        labels: (B, X, Y) integer classes; values outside 0..K-1, such as void, and pixels outside the
            network's input are not counted.
        affinity: (B, 9, h, w, H, W) of the same images.
        num_classes: K.
        patch: side of a token in pixels.
        corner: first row and column of the network's input in the rescaled image.
        scale: height and width of the rescaled image divided by those of the label.
    """
    height, width, rows, columns = affinity.shape[2:]
    size = (rows * height, columns * width)  # H h, W w
    per_axis = zip(labels.shape[1:], (height, width), corner, scale, strict=True)
    y, x = (
        sub_cells(length, patch / divisions, start_px=start, scale=factor).to(labels.device)
        for length, divisions, start, factor in per_axis
    )
    labels = labels.long()
    inside = ((y >= 0) & (y < size[0]))[:, None] & (x >= 0) & (x < size[1])  # X Y
    valid = inside & (labels >= 0) & (labels < num_classes)
    cells = y[:, None] * size[1] + x  # X Y
    batch = torch.arange(len(labels), device=labels.device)[:, None, None]
    counter = (batch * size[0] * size[1] + cells) * num_classes + labels  # B X Y
    counts = torch.bincount(counter[valid], minlength=len(labels) * size[0] * size[1] * num_classes)
    return rearrange(counts.float(), "(B H W K) -> B K H W", B=len(labels), H=size[0], W=size[1])


def sub_cells(length: int, cell_px: float, *, start_px: float = 0.0, scale: float = 1.0) -> Tensor:
    """Return the index of the sub-cell of each of `length` label pixels along one axis, int64 (length,).

    Args:
        cell_px: side of a sub-cell in pixels of the network's input.
        start_px: first pixel of the network's input in the rescaled image.
        scale: length of the rescaled image divided by that of the label.
    """
    centres = (torch.arange(length, dtype=torch.float64) + 0.5) * scale - start_px
    return torch.floor(centres / cell_px).long()


def region_histograms(affinity: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Return the class histogram of each region (B, K, H, W) and whether it has labelled pixels (B, H, W).

    Eq. 5: the classes of all sub-cells around a token, weighted by their affinity to it, L1-normalised. The
    histogram of a region without labelled pixels is 0. Differentiable in the affinity.

    Args:
        affinity: (B, 9, h, w, H, W), as `AffinityHead` returns it.
        counts: (B, K, H h, W w), as `class_counts` returns it.
    """
    return normalised(region_masses(affinity, counts))


def region_masses(affinity: Tensor, counts: Tensor) -> Tensor:
    """Return the mass of each class in each region, (B, K, H, W): pixels weighted by affinity.

    Each class is computed independently of the others. Arguments as in `region_histograms`.
    """
    height, width, rows, columns = affinity.shape[2:]
    cells = rearrange(counts, "B K (H h) (W w) -> (B H W) K (h w)", h=height, w=width)
    weights = rearrange(affinity, "B n h w H W -> (B H W) (h w) n")
    given = cells.to(weights.dtype) @ weights  # (B H W) K n: mass from a token's own cells to each neighbour
    given = rearrange(given, "(B H W) K n -> B (K n) (H W)", B=len(affinity), H=rows)
    # The sum of what each region gets from its neighbours is the adjoint of the unfold in painting.
    return functional.fold(given, (rows, columns), kernel_size=3, padding=1)


def normalised(masses: Tensor) -> tuple[Tensor, Tensor]:
    """Return masses (B, K, H, W) divided by their sum over the classes and where it is not 0 (B, H, W)."""
    total = masses.sum(dim=1)  # B H W
    filled = total > 1e-6
    return masses / total.where(filled, 1.0)[:, None] * filled[:, None], filled


def entropies(histograms: Tensor) -> Tensor:
    """Return the entropy (B, H, W) of histograms (B, K, H, W) over the classes, in nats."""
    return torch.special.entr(histograms).sum(dim=1)


def region_loss(affinity: Tensor, counts: Tensor, kind: Literal["homogeneity", "as_printed"]) -> Tensor:
    """Return the regulariser of the supplement's Table 4, a scalar, in one of two readings of its text.

    The L2 norm of each region's histogram is averaged over an image's regions with labelled pixels, then over
    the images. The text minimises this mean (`as_printed`), but its stated aim, homogeneous regions, needs
    the maximum (`homogeneity` is 1 minus the mean).
    """
    histograms, filled = region_histograms(affinity, counts)
    # For empty regions the square root is taken of 1, because it has no gradient at 0.
    norms = histograms.square().sum(dim=1).where(filled, 1.0).sqrt() * filled  # B H W
    mean = (norms.sum(dim=(1, 2)) / filled.sum(dim=(1, 2)).clamp(min=1)).mean()
    return mean if kind == "as_printed" else 1 - mean
