"""Scores against a naive count, and the sum of counts."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regproxy.errors import DataError
from regproxy.eval.metrics import confusion_matrix, iou_per_class, mean_accuracy, mean_iou, pixel_accuracy

IGNORE = 255
pixels = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([0, 1, 2, 3, IGNORE])), min_size=1, max_size=40
)


def count(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    return confusion_matrix(prediction, label, num_classes=4, ignore_label=IGNORE)


@settings(max_examples=100, deadline=None)
@given(pixels)
def test_scores_equal_a_naive_count(pairs: list[tuple[int, int]]) -> None:
    matrix = count(*np.array(pairs, np.uint8).T)
    valid = [(predicted, label) for predicted, label in pairs if label != IGNORE]
    ious, accuracies = [], []
    for k in range(4):
        both = sum(predicted == label == k for predicted, label in valid)
        either = sum(k in pair for pair in valid)
        labelled = sum(label == k for _, label in valid)
        ious.append(both / either if either else float("nan"))
        accuracies.append(both / labelled if labelled else float("nan"))
        for other in range(4):
            assert matrix[k, other] == sum((other, k) == pair for pair in valid)
    assert matrix.dtype == np.int64
    np.testing.assert_array_equal(iou_per_class(matrix), ious)
    right = sum(predicted == label for predicted, label in valid)
    expected = [
        np.nanmean(ious) if valid else float("nan"),
        right / len(valid) if valid else float("nan"),
        np.nanmean(accuracies) if valid else float("nan"),
    ]
    np.testing.assert_allclose([mean_iou(matrix), pixel_accuracy(matrix), mean_accuracy(matrix)], expected)


@settings(max_examples=30, deadline=None)
@given(pixels, pixels)
def test_counts_of_parts_add_up(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    parts = count(*np.array(first).T) + count(*np.array(second).T)
    np.testing.assert_array_equal(parts, count(*np.array(first + second).T))


def test_a_class_in_neither_map_is_left_out_of_the_mean() -> None:
    matrix = count(np.array([0, 0, 1]), np.array([0, 0, 0]))
    np.testing.assert_array_equal(iou_per_class(matrix), [2 / 3, 0, np.nan, np.nan])
    assert mean_iou(matrix) == pytest.approx(1 / 3)


def test_tensors_count_like_arrays() -> None:
    prediction, label = torch.tensor([[0, 3], [2, 1]]), torch.tensor([[0, 3], [1, 255]], dtype=torch.uint8)
    np.testing.assert_array_equal(count(prediction, label), count(prediction.numpy(), label.numpy()))


@pytest.mark.parametrize(
    ("prediction", "label", "message"),
    [
        ([4], [0], r"prediction 4 is invalid: expected 0 to 3\."),
        ([-1], [0], "prediction -1"),
        ([0], [4], "label 4"),
        ([0, 1], [0], "differ in shape"),
    ],
)
def test_invalid_values_are_refused(prediction: list, label: list, message: str) -> None:
    with pytest.raises((DataError, ValueError), match=message):
        count(np.array(prediction), np.array(label))
