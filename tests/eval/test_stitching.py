"""Blocks, windows and stitching matrices: what they cover and how large they become."""

import numpy as np
import pytest
import torch
from largest_tensor import LargestTensor

from regproxy.eval import stitching
from regproxy.eval.stitching import Axis, blocks, stitching_matrix, window_starts


@pytest.mark.parametrize("side", [2048, 8192, 30_000])
def test_memory_of_blocks_and_matrices_is_bounded(side: int) -> None:
    view = (Axis(side, side, 768, 512), Axis(side, side // 2, 768, 512, flipped=True))
    stitching_matrix.cache_clear()
    with LargestTensor() as largest:
        rows, columns = blocks([view], (19, 192, 192), torch.device("cpu"))[-1]
        for axis, lines in zip(view, (rows, columns), strict=True):
            assert stitching_matrix(axis, lines, 192).shape[0] == len(lines)
    assert 0 < largest.elements <= 2**22


def test_blocks_cover_the_image_once_and_are_bounded() -> None:
    views = [
        (Axis(1024, rows, 768, 512), Axis(2048, 2 * rows, 768, 512, flipped))
        for rows in (512, 1024, 1792)
        for flipped in (False, True)
    ]
    shape, limit = (150, 192, 192), stitching._BLOCK_ELEMENTS["cpu"]
    found = blocks(views, shape, torch.device("cpu"))
    seen = np.zeros((1024, 2048), int)
    for rows, columns in found:
        seen[rows.start : rows.stop, columns.start : columns.stop] += 1
        stitched = [
            [
                stitching_matrix(axis, lines, 192).shape[1]
                for axis, lines in zip(view, (rows, columns), strict=True)
            ]
            for view in views
        ]
        assert sum(150 * height * width for height, width in stitched) <= limit
    assert (seen == 1).all() and len(found) > 1
    assert len(blocks(views, (19, 192, 192), torch.device("cpu"))) == 1


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (80, [0, 32, 48]),
        (20, [0]),
        (33, [0, 1]),
        (64, [0, 32]),
    ],
)
def test_the_last_window_is_moved_inside(side: int, expected: list[int]) -> None:
    assert window_starts(side, 32, 32) == expected
