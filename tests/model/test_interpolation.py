"""The matrix of bilinear interpolation against torch, as a whole and in part."""

import pytest
import torch
from torch.nn import functional

from regproxy.model.interpolation import bilinear_matrix, source_lines

SIZES = [(5, 20), (20, 5), (7, 7), (1, 9), (9, 1), (13, 31)]


@pytest.mark.parametrize(("size_in", "size_out"), SIZES)
def test_matrix_equals_interpolate(size_in: int, size_out: int) -> None:
    values = torch.randn(1, 1, size_in, dtype=torch.float64)
    expected = functional.interpolate(values[..., None], (size_out, 1), mode="bilinear", align_corners=False)
    torch.testing.assert_close(bilinear_matrix(size_in, size_out) @ values[0, 0], expected[0, 0, :, 0])


@pytest.mark.parametrize(("size_in", "size_out"), SIZES)
def test_a_part_of_a_matrix_equals_that_part_of_the_whole(size_in: int, size_out: int) -> None:
    whole = bilinear_matrix(size_in, size_out)
    for first in range(size_out):
        for stop in range(first + 1, size_out + 1):
            outputs = range(first, stop)
            inputs = source_lines(size_in, size_out, outputs)
            part = torch.zeros(len(outputs), size_in, dtype=torch.float64)
            part[:, inputs.start : inputs.stop] = bilinear_matrix(size_in, size_out, outputs, inputs)
            assert torch.equal(part, whole[first:stop])


@pytest.mark.parametrize("size_out", [3, 7, 8, 31, 64, 100])
@pytest.mark.parametrize("size_in", [1, 2, 3, 7, 8, 31])
def test_source_lines_hold_every_weight(size_in: int, size_out: int) -> None:
    matrix = bilinear_matrix(size_in, size_out)
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(size_out, dtype=torch.float64))
    for start in range(0, size_out, 2):
        outputs = range(start, min(start + 2, size_out))
        inputs = source_lines(size_in, size_out, outputs)
        others = matrix[outputs.start : outputs.stop].clone()
        others[:, inputs.start : inputs.stop] = 0
        assert (others == 0).all()
