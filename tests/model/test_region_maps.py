"""Maps of the regions against plain loops over the sub-cells and their neighbours."""

import numpy as np
import pytest
import torch
from torch import Tensor

from regproxy.model.affinity import AffinityHead
from regproxy.model.region_maps import heat_map, region_ids

SHAPES = [((2, 3), (3, 5)), ((4, 1), (1, 4)), ((1, 1), (2, 2)), ((3, 2), (1, 1))]  # region, grid


def drawn(region: tuple[int, int], grid: tuple[int, int], batch: int = 1) -> Tensor:
    torch.manual_seed(1)
    return AffinityHead(6, region, "none").double()(torch.randn(batch, 6, *grid).double()).detach()


def heat_by_loops(affinity: Tensor, row: int, column: int) -> np.ndarray:
    _, height, width, rows, columns = affinity.shape
    heat = np.zeros((3 * height, 3 * width))
    for y in range(3 * height):
        for x in range(3 * width):
            own_row, own_column = row - 1 + y // height, column - 1 + x // width
            if 0 <= own_row < rows and 0 <= own_column < columns:
                for n in range(9):
                    if (own_row + n // 3 - 1, own_column + n % 3 - 1) == (row, column):
                        heat[y, x] = affinity[n, y % height, x % width, own_row, own_column]
    return heat


def ids_by_loops(affinity: Tensor) -> np.ndarray:
    batch, _, height, width, rows, columns = affinity.shape
    ids = np.zeros((batch, rows * height, columns * width), np.int64)
    for b in range(batch):
        for y in range(rows * height):
            for x in range(columns * width):
                row, column = y // height, x // width
                shares = affinity[b, :, y % height, x % width, row, column].tolist()
                n = shares.index(max(shares))
                ids[b, y, x] = (row + n // 3 - 1) * columns + column + n % 3 - 1
    return ids


@pytest.mark.parametrize(("region", "grid"), SHAPES)
def test_heat_maps_equal_the_loop_for_every_token(region: tuple[int, int], grid: tuple[int, int]) -> None:
    affinity = drawn(region, grid)[0]
    for row in range(grid[0]):
        for column in range(grid[1]):
            heat = heat_map(affinity, row, column)
            np.testing.assert_array_equal(heat.numpy(), heat_by_loops(affinity, row, column))


@pytest.mark.parametrize(("region", "grid"), SHAPES)
def test_heat_maps_of_all_tokens_sum_to_one(region: tuple[int, int], grid: tuple[int, int]) -> None:
    affinity, (height, width) = drawn(region, grid)[0], region
    total = torch.zeros((grid[0] + 2) * height, (grid[1] + 2) * width, dtype=torch.float64)
    for row in range(grid[0]):
        for column in range(grid[1]):
            part = total[row * height : (row + 3) * height, column * width : (column + 3) * width]
            part += heat_map(affinity, row, column)
    inside = total[height:-height, width:-width]
    torch.testing.assert_close(inside, torch.ones_like(inside))
    assert total.sum().item() == pytest.approx(inside.numel())  # nothing outside of the grid


@pytest.mark.parametrize(("region", "grid"), SHAPES)
def test_ids_equal_the_loop(region: tuple[int, int], grid: tuple[int, int]) -> None:
    affinity = drawn(region, grid, batch=2)
    ids = region_ids(affinity)
    assert ids.dtype == torch.int64
    np.testing.assert_array_equal(ids.numpy(), ids_by_loops(affinity))


@pytest.mark.parametrize(("row", "column"), [(-1, 0), (0, -1), (3, 0), (0, 5)])
def test_a_token_outside_the_grid_has_no_heat_map(row: int, column: int) -> None:
    with pytest.raises(ValueError, match="outside the grid of 3 x 5 tokens"):
        heat_map(drawn((2, 3), (3, 5))[0], row, column)
