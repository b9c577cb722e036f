"""What classes a token's region holds: region histograms (supplement, Eq. 5) and their entropy.

B batch, K classes, X Y label, H W token grid, h w sub-cells a token, n the nine neighbours.
"""

from typing import Literal

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional


def class_counts(
    labels: Tensor, rows: Tensor, columns: Tensor, size: tuple[int, int], num_classes: int
) -> Tensor:
    """Counts the labelled pixels of each class in each sub-cell: float32 (B, K, H h, W w).

    Labels come to the sub-cell grid by counting, so that no pixel speaks for others.

    Args:
        labels: (B, X, Y) integer classes; values outside 0..K-1, such as void, count nowhere.
        rows, columns: (X,) and (Y,), the sub-cell row or column of each pixel; those outside count nowhere.
        size: (H h, W w).
        num_classes: K.
    """
    labels = labels.long()
    inside = (rows >= 0) & (rows < size[0])
    inside = inside[:, None] & ((columns >= 0) & (columns < size[1]))
    valid = inside & (labels >= 0) & (labels < num_classes)
    cells = rows[:, None] * size[1] + columns  # X Y
    batch = torch.arange(len(labels), device=labels.device)[:, None, None]
    place = (batch * size[0] * size[1] + cells) * num_classes + labels
    counts = torch.bincount(place[valid], minlength=len(labels) * size[0] * size[1] * num_classes)
    return rearrange(counts.float(), "(B H W K) -> B K H W", B=len(labels), H=size[0], W=size[1])


def crop_counts(labels: Tensor, affinity: Tensor, *, num_classes: int, patch: int) -> Tensor:
    """Returns the class counts (B, K, H h, W w) of labels (B, X, Y) at the size of the network's input."""
    height, width, rows, columns = affinity.shape[2:]
    places = [sub_cells(labels.shape[1], patch / height), sub_cells(labels.shape[2], patch / width)]
    places = [place.to(labels.device) for place in places]
    return class_counts(labels, *places, (rows * height, columns * width), num_classes)


def sub_cells(length: int, cell_px: float, *, start_px: float = 0.0, scale: float = 1.0) -> Tensor:
    """Returns the sub-cell of each of `length` pixels along one axis: int64 (length,).

    Args:
        cell_px: side of a sub-cell in pixels of the network's input.
        start_px: where the input begins in the rescaled image.
        scale: rescaled over original length.
    """
    centres = (torch.arange(length, dtype=torch.float64) + 0.5) * scale - start_px
    return torch.floor(centres / cell_px).long()


def region_histograms(affinity: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Returns each region's class histogram (B, K, H, W) and which regions hold labelled pixels (B, H, W).

    Eq. 5: the classes of all sub-cells around a token, weighted by their affinity to it, L1-normalised; 0 for
    a region without labelled pixels. Differentiable in the affinity.

    Args:
        affinity: (B, 9, h, w, H, W), see `AffinityHead`.
        counts: (B, K, H h, W w), see `class_counts`.
    """
    return normalised(region_masses(affinity, counts))


def region_masses(affinity: Tensor, counts: Tensor) -> Tensor:
    """Returns what `region_histograms` normalises, (B, K, H, W): pixels of each class, weighted by affinity.

    Classes do not mix: some of them at a time give the same as all at once.
    """
    height, width, rows, columns = affinity.shape[2:]
    cells = rearrange(counts, "B K (H h) (W w) -> (B H W) K (h w)", h=height, w=width)
    weights = rearrange(affinity, "B n h w H W -> (B H W) (h w) n")
    parts = cells.to(weights.dtype) @ weights  # (B H W) K n: what a token's own cells give to each neighbour
    parts = rearrange(parts, "(B H W) K n -> B (K n) (H W)", B=len(affinity), H=rows)
    return functional.fold(
        parts, (rows, columns), kernel_size=3, padding=1
    )  # the adjoint of painting's unfold


def normalised(masses: Tensor) -> tuple[Tensor, Tensor]:
    """Returns histograms (B, K, H, W), 0 without any mass, and where there is some (B, H, W)."""
    total = masses.sum(dim=1)  # B H W
    filled = total > 1e-6
    return masses / total.where(filled, 1.0)[:, None] * filled[:, None], filled


def entropies(histograms: Tensor) -> Tensor:
    """Returns the entropy of each histogram over the classes, in nats: (B, K, H, W) to (B, H, W)."""
    return torch.special.entr(histograms).sum(dim=1)


def region_loss(affinity: Tensor, counts: Tensor, kind: Literal["homogeneity", "as_printed"]) -> Tensor:
    """Returns the regulariser of the supplement's Table 4, a scalar, by one of its two readings.

    The L2 norm of each region's histogram is averaged over an image's regions with labelled pixels, then over
    the images. `as_printed` is that mean, which the text says is minimised; `homogeneity` is 1 minus it,
    which serves its stated aim.
    """
    histograms, filled = region_histograms(affinity, counts)
    # The square root has no slope at 0, where a region is empty.
    norms = histograms.square().sum(dim=1).where(filled, 1.0).sqrt() * filled  # B H W
    mean = (norms.sum(dim=(1, 2)) / filled.sum(dim=(1, 2)).clamp(min=1)).mean()
    return mean if kind == "as_printed" else 1 - mean
