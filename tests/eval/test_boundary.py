"""Boundary IoU against plain loops and hand-computed cases, with and without void."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regproxy.eval.boundary import boundary_counts, boundary_region, boundary_width

VOID = 255


def count(prediction: np.ndarray, label: np.ndarray, num_classes: int = 4) -> np.ndarray:
    return boundary_counts(prediction, label, num_classes=num_classes, ignore_label=VOID)


def plain_region(classes: np.ndarray, label: np.ndarray, k: int) -> set[tuple[int, int]]:
    """Return the boundary region of class k in `classes`, by looking at every pixel around every pixel."""
    height, width = classes.shape
    distance = max(round(0.02 * math.sqrt(height**2 + width**2)), 1)
    steps = range(-distance, distance + 1)
    region = set()
    for y, x in np.ndindex(height, width):
        if label[y, x] == VOID or classes[y, x] != k:
            continue
        for other_y, other_x in ((y + down, x + right) for down in steps for right in steps):
            inside = 0 <= other_y < height and 0 <= other_x < width
            if not inside or (label[other_y, other_x] != VOID and classes[other_y, other_x] != k):
                region.add((y, x))
    return region


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 130), st.integers(1, 12), st.sampled_from([0.0, 0.2, 0.7]))
def test_counts_equal_plain_loops(seed: int, height: int, width: int, void: float) -> None:
    random = np.random.default_rng(seed)
    blocks = (-(-height // 9), -(-width // 4))
    maps = [random.integers(0, 3, blocks).repeat(9, 0).repeat(4, 1)[:height, :width] for _ in range(2)]
    prediction, label = (one.astype(np.uint8) for one in maps)
    prediction = np.where(random.random(label.shape) < 0.7, label, prediction)
    label[(random.random(blocks) < void).repeat(9, 0).repeat(4, 1)[:height, :width]] = VOID
    expected = np.zeros((2, 4), np.int64)
    for k in range(4):
        regions = [plain_region(classes, label, k) for classes in (prediction, label)]
        expected[:, k] = len(regions[0] & regions[1]), len(regions[0] | regions[1])
    np.testing.assert_array_equal(count(prediction, label), expected)


def test_two_halves_by_hand() -> None:
    """A 10 × 10 image: the frame's pixels, and one column on either side of the border of the classes."""
    label = np.zeros((10, 10), np.uint8)
    label[:, 5:] = 1
    region = boundary_region(label, np.zeros((10, 10), bool), num_classes=2)
    expected = np.zeros((10, 10), bool)
    expected[[0, -1]] = expected[:, [0, 4, 5, -1]] = True
    np.testing.assert_array_equal(region, expected)
    np.testing.assert_array_equal(count(label, label, 2), [[26, 26], [26, 26]])
    moved = np.roll(label, 1, axis=1)  # class 1 at columns 6 to 9, class 0 at 1 to 5, and class 1 at column 0
    moved[:, 0] = 0
    # Class 0: columns 0 to 4 of the frame are shared, 18; the label adds column 4, the prediction column 5.
    # Class 1: columns 6 to 9 of the frame are shared, 16; the label adds column 5, the prediction column 6.
    np.testing.assert_array_equal(count(moved, label, 2), [[18, 16], [18 + 8 + 10, 16 + 10 + 8]])


def test_the_width_is_two_percent_of_the_diagonal() -> None:
    assert [boundary_width(shape) for shape in ((3, 4), (30, 40), (720, 960), (1024, 2048))] == [1, 1, 24, 46]


def test_a_perfect_prediction_scores_one_beside_void() -> None:
    """A prediction has no void: whatever it says there changes no count and makes no contour."""
    label = np.zeros((40, 60), np.uint8)
    label[:, 30:] = 1
    label[10:20, 5:40] = VOID
    for inside in (0, 1, 2, 3):
        prediction = np.where(label == VOID, inside, label).astype(np.uint8)
        counts = count(prediction, label)
        np.testing.assert_array_equal(counts[0], counts[1])
        np.testing.assert_array_equal(counts, count(label, label))
    region = boundary_region(label, label == VOID, num_classes=4)
    assert not region[9, 6:28].any() and not region[20, 6:28].any()  # next to void alone
    assert region[9, 29] and region[9, 30]  # next to the other class


def test_only_void_has_no_boundary() -> None:
    label = np.full((7, 9), VOID, np.uint8)
    assert not count(np.zeros((7, 9), np.uint8), label).any()


@pytest.mark.parametrize("num_classes", [255, 300])
def test_many_classes(num_classes: int) -> None:
    """The last class is no void, and classes beyond 255 stay apart."""
    label = np.zeros((12, 12), np.uint8)
    label[:, 6:] = 254
    prediction = label.astype(np.int16)
    prediction[:, :6] = num_classes - 1 if num_classes > 255 else 0
    counts = count(prediction, label, num_classes)
    assert counts.shape == (2, num_classes)
    np.testing.assert_array_equal(counts[:, 254], [32, 32])
    assert counts[0, 0] == (0 if num_classes > 255 else 32)
