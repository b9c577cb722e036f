"""Laws of the affinity and of painting, and painting against a reference of four loops."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from regproxy.model.affinity import AffinityHead, outside_neighbours, paint

REGIONS = [(1, 1), (2, 2), (4, 4), (8, 8), (16, 16), (2, 3), (4, 1)]


def random_affinity(region: tuple[int, int], grid: tuple[int, int] = (3, 5), *, batch: int = 2) -> Tensor:
    scores = torch.randn(batch, 9, *region, *grid, dtype=torch.float64)
    outside = outside_neighbours(*grid)[:, None, None]
    return scores.masked_fill(outside, float("-inf")).softmax(dim=1)


def paint_by_loops(affinity: Tensor, token_logits: Tensor) -> Tensor:
    """Paint one token, neighbour and sub-cell at a time."""
    batch, _, height, width, rows, columns = affinity.shape
    painted = affinity.new_zeros(batch, token_logits.shape[1], rows * height, columns * width)
    for row, column in itertools.product(range(rows), range(columns)):
        for n, (dy, dx) in enumerate(itertools.product((-1, 0, 1), repeat=2)):
            if not (0 <= row + dy < rows and 0 <= column + dx < columns):
                continue
            for i, j in itertools.product(range(height), range(width)):
                weight = affinity[:, n, i, j, row, column, None]
                y, x = row * height + i, column * width + j
                painted[:, :, y, x] += weight * token_logits[:, :, row + dy, column + dx]
    return painted


@pytest.mark.parametrize("region", [(1, 1), (2, 3), (4, 4)])
def test_paint_equals_four_loops(region: tuple[int, int]) -> None:
    affinity, logits = random_affinity(region), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(paint(affinity, logits), paint_by_loops(affinity, logits), rtol=0, atol=1e-14)


def test_gradients_of_paint() -> None:
    affinity = random_affinity((2, 1), (3, 3), batch=1).requires_grad_()
    logits = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(paint, (affinity, logits))


@pytest.mark.parametrize("region", REGIONS)
def test_constant_in_constant_out(region: tuple[int, int]) -> None:
    constant = torch.tensor([3.0, -7.0], dtype=torch.float64)[None, :, None, None]
    painted = paint(random_affinity(region), constant.expand(2, -1, 3, 5))
    assert painted.shape == (2, 2, 3 * region[0], 5 * region[1])
    torch.testing.assert_close(painted, constant.expand_as(painted), rtol=1e-14, atol=0)


@pytest.mark.parametrize("region", REGIONS)
def test_centre_alone_is_nearest_upsampling(region: tuple[int, int]) -> None:
    logits = torch.randn(2, 4, 3, 5)
    affinity = torch.zeros(2, 9, *region, 3, 5)
    affinity[:, 4] = 1
    nearest = functional.interpolate(logits, scale_factor=region, mode="nearest")
    assert torch.equal(paint(affinity, logits), nearest)


def test_paint_commutes_with_flips() -> None:
    affinity, logits = random_affinity((2, 3)), torch.randn(2, 4, 3, 5, dtype=torch.float64)
    for grid_axis, neighbour_order in ((-1, [2, 1, 0, 5, 4, 3, 8, 7, 6]), (-2, [6, 7, 8, 3, 4, 5, 0, 1, 2])):
        cell_axis = grid_axis - 2
        flipped = affinity[:, neighbour_order].flip(grid_axis, cell_axis)
        expected = paint(affinity, logits).flip(grid_axis)
        torch.testing.assert_close(paint(flipped, logits.flip(grid_axis)), expected)


@pytest.mark.parametrize(
    ("affinity", "logits"),
    [
        ((2, 8, 1, 1, 3, 5), (2, 4, 3, 5)),
        ((2, 9, 1, 1, 3, 5), (2, 4, 5, 3)),
        ((1, 9, 1, 1, 3, 5), (2, 4, 3, 5)),
        ((2, 9, 1, 3, 5), (2, 4, 3, 5)),
    ],
)
def test_paint_refuses_shapes_that_do_not_fit(affinity: tuple[int, ...], logits: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="affinity"):
        paint(torch.zeros(affinity), torch.zeros(logits))


@pytest.mark.parametrize("conv", ["none", "normal", "depthwise"])
@pytest.mark.parametrize("autocast", [False, True])
def test_affinity_is_zero_outside_the_image(conv: str, autocast: bool) -> None:
    head = AffinityHead(8, (2, 3), conv)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        affinity = head(torch.randn(2, 8, 3, 4))
    assert affinity.shape == (2, 9, 2, 3, 3, 4) and affinity.dtype == torch.float32
    outside = outside_neighbours(3, 4)[None, :, None, None].expand_as(affinity)
    assert (affinity[outside] == 0).all() and (affinity[~outside] > 0).all()
    torch.testing.assert_close(affinity.sum(dim=1), torch.ones(2, 2, 3, 3, 4))
    affinity.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_neighbours_outside_the_image() -> None:
    outside = outside_neighbours(3, 4)
    assert outside.sum(dim=0).tolist() == [[5, 3, 3, 5], [3, 0, 0, 3], [5, 3, 3, 5]]
    assert outside[:, 0, 0].nonzero().flatten().tolist() == [0, 1, 2, 3, 6]
    assert outside_neighbours(1, 1).sum() == 8


def test_channels_are_neighbour_then_row_then_column() -> None:
    head = AffinityHead(8, (2, 3), "none")
    torch.nn.init.zeros_(head.out.weight)
    with torch.no_grad():
        head.out.bias[(5 * 2 + 1) * 3 + 2] = 50.0  # neighbour (0, 1) of the sub-cell in row 1, column 2
    affinity = head(torch.randn(1, 8, 3, 3))[0, :, :, :, 1, 1]
    assert affinity[5, 1, 2] > 0.99
    others = torch.ones(2, 3, dtype=torch.bool)
    others[1, 2] = False
    torch.testing.assert_close(affinity[:, others], torch.full((9, 5), 1 / 9))


def test_initial_weights_of_the_head() -> None:
    head = AffinityHead(64, (4, 4), "depthwise")
    convolutions = [module for module in head.modules() if isinstance(module, torch.nn.Conv2d)]
    assert [conv.bias is not None for conv in convolutions] == [False, False, True]
    for conv in convolutions:
        fan_out = conv.out_channels * conv.kernel_size[0] ** 2
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.15)
    assert (head.out.bias == 0).all()
