"""The choice of tokens that a picture of regions shows."""

import numpy as np
import pytest
import torch

from regproxy.eval.image_regions import ImageRegions
from regproxy.eval.token_choice import (
    Candidates,
    Token,
    border_pixels,
    candidates,
    choose_tokens,
    classes_by_shape,
)

POLE = np.zeros((32, 40), np.uint8)  # 4 x 5 tokens of 8 pixels
POLE[:, 17:19], POLE[28:], POLE[0, 0] = 2, 1, 255


def regions_of(label: np.ndarray, patch: int = 8, num_classes: int = 3) -> ImageRegions:
    """Return regions that follow a label exactly: each pixel belongs to the next token of its class.

    Tokens have the rarest class in their cells.
    """
    rows, columns = label.shape[0] // patch, label.shape[1] // patch
    cells = label.reshape(rows, patch, columns, patch).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    classes = np.where(cells == 255, 0, cells).max(axis=2)
    affinity = np.zeros((9, patch, patch, rows, columns), np.float32)
    for y in range(label.shape[0]):
        for x in range(label.shape[1]):
            row, column = y // patch, x // patch
            around = [(row + n // 3 - 1, column + n % 3 - 1) for n in range(9)]
            fits = [0 <= r < rows and 0 <= c < columns and classes[r, c] == label[y, x] for r, c in around]
            n = 4 if fits[4] or not any(fits) else fits.index(True)
            affinity[n, y % patch, x % patch, row, column] = 1
    logits = np.moveaxis(np.eye(num_classes, dtype=np.float32)[classes], 2, 0)
    return ImageRegions(affinity, np.ascontiguousarray(logits), np.zeros((*label.shape, 3), np.uint8), patch)


def test_border_pixels_have_another_class_beside_them() -> None:
    label = np.array([[0, 0, 1, 255], [0, 0, 1, 255], [0, 0, 0, 255]], np.uint8)
    assert border_pixels(label).tolist() == [
        [False, True, True, False],
        [False, True, True, False],
        [False, False, True, False],
    ]


def test_thin_and_large_classes_come_first() -> None:
    thin, large = classes_by_shape([POLE, np.full((8, 8), 3, np.uint8)], num_classes=5)
    assert thin == [2, 1, 0, 3] and large == [0, 1, 3, 2]


def test_shares_are_those_of_pixels_in_the_region_and_around() -> None:
    regions = regions_of(POLE)
    found = candidates(regions, POLE)
    # The pole's tokens are in column 2; rows 0 to 2 of its cell hold 2 of 8 columns of pole.
    assert found.classes[1].tolist() == [0, 0, 2, 0, 0]
    assert found.shares[1, 2] == 1.0 and found.shares_around[1, 2] == pytest.approx(2 / 24)
    assert found.shares[1, 3] == 1.0 and found.shares_around[1, 3] == pytest.approx(22 / 24)
    enlarged = POLE.repeat(3, axis=0).repeat(3, axis=1)  # the label of a larger image
    np.testing.assert_allclose(candidates(regions, enlarged).shares, found.shares)


def test_depth_is_the_distance_to_another_class_or_the_edge() -> None:
    label = np.zeros((56, 56), np.uint8)
    label[:, 40:] = 1
    depths = candidates(regions_of(label), label).depths
    assert depths[3, 3] == pytest.approx((39 - 28) / 8)  # pixel 39 is a border pixel, 28 is in the centre
    assert depths[3, 0] == pytest.approx(5 / 8) and depths[0, 2] == pytest.approx(5 / 8)


def test_tokens_of_the_padding_and_of_the_edge_are_not_shown() -> None:
    def shown(height: int, width: int) -> list[list[int]]:
        regions = ImageRegions(
            np.ones((9, 1, 1, 4, 5), np.float32),
            np.zeros((3, 4, 5), np.float32),
            np.zeros((height, width, 3), np.uint8),
            8,
        )
        return np.argwhere(candidates(regions, np.zeros((height, width), np.uint8)).eligible).tolist()

    assert shown(32, 40) == [[row, column] for row in (1, 2) for column in (1, 2, 3)]
    assert shown(27, 35) == [[1, 1], [1, 2]]  # half of a cell is outside
    assert shown(16, 30) == [[0, 1], [0, 2], [1, 1], [1, 2]]
    assert shown(1, 1) == [[0, 0]]


def test_thin_classes_then_inner_tokens_apart_from_each_other() -> None:
    found = candidates(regions_of(POLE), POLE)
    # In row 2 there is less of the pole around. All other tokens are too close to this one.
    assert choose_tokens([found], [2, 1, 0], [0, 1]) == [Token(0, 2, 2, 2)]
    wide = np.zeros((56, 96), np.uint8)
    wide[:, 17:19] = 2
    images = [candidates(regions_of(label), label) for label in (np.zeros_like(wide), wide)]
    tokens = choose_tokens(images, [2, 0], [0, 2])
    assert tokens[0] == Token(1, 1, 2, 2)
    inner = [token for token in tokens if token.class_id == 0]
    assert Token(0, 3, 3, 0) in inner  # the middle of the empty image
    assert choose_tokens(images, [2, 0], [0], num_thin=1, num_inner=0) == tokens[:1]


def test_a_class_that_no_token_has_is_skipped() -> None:
    values = np.ones((1, 3))
    image = Candidates(np.array([[0, 0, 4]]), values, 0 * values, values, np.array([[True, True, False]]))
    assert choose_tokens([image], [4, 3, 0], []) == [Token(0, 0, 0, 0)]
    assert choose_tokens([image], [], [4]) == []


def test_the_linear_baselines_cells_are_regions() -> None:
    affinity = torch.zeros(9, 1, 1, 4, 5)
    affinity[4] = 1
    logits = np.zeros((3, 4, 5), np.float32)
    logits[2, :, 2] = 1
    found = candidates(ImageRegions(affinity.numpy(), logits, np.zeros((32, 40, 3), np.uint8), 8), POLE)
    assert found.shares[1, 2] == pytest.approx(2 / 8) and found.shares[1, 1] == 1
