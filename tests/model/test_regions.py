"""Region histograms against a loop over pixels, their entropy, and the region loss."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from regproxy.config.profile_file import load_profile
from regproxy.eval import score
from regproxy.model.affinity import AffinityHead
from regproxy.model.regions import (
    class_counts,
    entropies,
    region_histograms,
    region_loss,
    sub_cells,
)
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end

K = 4


def drawn(
    batch: int = 2, region: tuple[int, int] = (2, 4), grid: tuple[int, int] = (3, 2)
) -> tuple[Tensor, Tensor]:
    """Return the affinity of a real head, and labels for tokens of 8 pixels with some void."""
    torch.manual_seed(0)
    affinity = AffinityHead(6, region, "none")(torch.randn(batch, 6, *grid)).detach().double()
    labels = torch.randint(0, K + 1, (batch, grid[0] * 8, grid[1] * 8))
    return affinity, labels.masked_fill(labels == K, 255)


def by_loops(affinity: Tensor, labels: Tensor) -> Tensor:
    batch, _, height, width, rows, columns = affinity.shape
    mass = torch.zeros(batch, K, rows, columns, dtype=torch.float64)
    for b in range(batch):
        for x in range(labels.shape[1]):
            for y in range(labels.shape[2]):
                row, column, i, j = x // 8, y // 8, x % 8 * height // 8, y % 8 * width // 8
                if labels[b, x, y] == 255:
                    continue
                for n in range(9):
                    r, c = row + n // 3 - 1, column + n % 3 - 1
                    if 0 <= r < rows and 0 <= c < columns:
                        mass[b, labels[b, x, y], r, c] += affinity[b, n, i, j, row, column]
    return mass / mass.sum(dim=1, keepdim=True).clamp(min=1e-9)


def test_histograms_equal_the_loop() -> None:
    affinity, labels = drawn()
    histograms, filled = region_histograms(affinity, class_counts(labels, affinity, num_classes=K, patch=8))
    assert filled.all()
    torch.testing.assert_close(histograms, by_loops(affinity, labels))
    torch.testing.assert_close(histograms.sum(dim=1), torch.ones(2, 3, 2, dtype=torch.float64))


@pytest.mark.parametrize("counts_at_once", [1, 10**6])
def test_entropy_of_predicted_windows_is_that_of_their_regions(
    counts_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The classes are counted one at a time or all at once."""
    affinity, labels = drawn(batch=1)
    variant = next(one for one in load_profile("smoke").variants if one.model.head == "regproxy")
    data = dataclasses.replace(variant.data, classes=tuple("abcd"))
    evaluation = dataclasses.replace(variant.evaluation, scale=(24, 16))
    variant = dataclasses.replace(variant, data=data, evaluation=evaluation)
    tally = score.Tally(np.zeros((K, K), np.int64), np.zeros((2, K), np.int64))
    monkeypatch.setattr(score, "_MAX_COUNTS", counts_at_once)
    score._add_regions(tally, labels[0].to(torch.uint8).numpy(), variant, 8, [(0, 0)], affinity)
    expected = entropies(by_loops(affinity, labels))
    assert tally.num_regions == expected.numel()
    assert tally.mean_entropy == pytest.approx(expected.mean().item(), rel=1e-6)


def test_a_region_of_void_pixels_is_not_counted() -> None:
    affinity, labels = drawn()
    labels[0] = 255
    histograms, filled = region_histograms(affinity, class_counts(labels, affinity, num_classes=K, patch=8))
    assert not filled[0].any() and filled[1].all()
    assert (histograms[0] == 0).all() and (entropies(histograms)[0] == 0).all()


def test_pixels_outside_the_grid_are_not_counted() -> None:
    labels = torch.zeros(1, 4, 6, dtype=torch.uint8)
    rows, columns = sub_cells(4, 1.0, start_px=1.0), sub_cells(6, 2.0)
    assert rows.tolist() == [-1, 0, 1, 2] and columns.tolist() == [0, 0, 1, 1, 2, 2]
    affinity = torch.zeros(1, 9, 2, 1, 1, 2)  # sub-cells of 1 x 2 pixels
    counts = class_counts(labels, affinity, num_classes=1, patch=2, corner=(1, 0))
    assert counts.tolist() == [[[[2.0, 2.0], [2.0, 2.0]]]]


def test_pixels_of_a_rescaled_image_find_their_sub_cells() -> None:
    assert sub_cells(8, 4.0, scale=2.0).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert sub_cells(4, 4.0, scale=0.5).tolist() == [0, 0, 0, 0]


def test_entropy_of_known_histograms() -> None:
    pure, even = torch.tensor([1.0, 0, 0, 0]), torch.full((4,), 0.25)
    values = entropies(torch.stack([pure, even])[:, :, None, None])
    assert values.flatten().tolist() == pytest.approx([0.0, math.log(4)])


def test_the_two_region_losses_are_opposites() -> None:
    affinity, labels = drawn()
    affinity.requires_grad_()
    counts = class_counts(labels, affinity, num_classes=K, patch=8)
    printed, homogeneity = (region_loss(affinity, counts, kind) for kind in ("as_printed", "homogeneity"))
    norms = region_histograms(affinity, counts)[0].norm(dim=1)
    assert printed.item() == pytest.approx(norms.mean().item())
    assert (printed + homogeneity).item() == pytest.approx(1.0)
    (gradient,) = torch.autograd.grad(homogeneity, affinity)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_an_image_without_labels_has_a_gradient_of_zero() -> None:
    affinity, labels = drawn()
    affinity.requires_grad_()
    counts = class_counts(torch.full_like(labels, 255), affinity, num_classes=K, patch=8)
    loss = region_loss(affinity, counts, "as_printed")
    (gradient,) = torch.autograd.grad(loss, affinity)
    assert loss.item() == 0 and (gradient == 0).all()


def test_a_regularised_training_differs(make_trial) -> None:
    from regproxy.train.context import Context

    plain = run_to_end(train(make_trial(run="plain"), Context()))
    regularised = run_to_end(train(make_trial(run="regularised", region_loss="homogeneity"), Context()))
    assert regularised["final_loss"] > plain["final_loss"]
