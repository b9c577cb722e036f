"""Confusion matrices of images as a text: nothing is lost, and a damaged text is refused at little cost."""

import base64
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regproxy.errors import DataError
from regproxy.eval import image_confusions
from regproxy.eval.image_confusions import ImageConfusions, SparseMatrix, pack, unpack


def packed(matrices: np.ndarray) -> str:
    return pack([SparseMatrix.of(matrix) for matrix in matrices], matrices.shape[1])


def dense(images: ImageConfusions) -> np.ndarray:
    matrices = np.zeros((images.num_images, images.num_classes, images.num_classes), np.int64)
    matrices[images.images, images.labels, images.predictions] = images.counts
    return matrices


def encoded(*integers: int) -> str:
    """Return these integers as `pack` writes them."""
    by_weight = np.array(integers, "<u4").view(np.uint8).reshape(-1, 4).T
    return base64.b64encode(zlib.compress(by_weight.tobytes())).decode()


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 6), st.floats(0, 1))
def test_matrices_survive(seed: int, num_images: int, num_classes: int, share: float) -> None:
    random = np.random.default_rng(seed)
    matrices = random.integers(0, 2**32, (num_images, num_classes, num_classes))
    matrices[random.random(matrices.shape) < share] = 0
    images = unpack(packed(matrices), num_images, num_classes)
    np.testing.assert_array_equal(dense(images), matrices)
    np.testing.assert_array_equal(images.correct(), matrices.diagonal(axis1=1, axis2=2))
    np.testing.assert_array_equal(images.labelled(), matrices.sum(axis=2))
    np.testing.assert_array_equal(images.predicted(), matrices.sum(axis=1))


def test_the_text_is_that_of_the_docstring() -> None:
    matrices = np.array([[[7, 0], [300, 0]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]])
    text = packed(matrices)
    integers = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8).reshape(4, -1)
    numbers = [int.from_bytes(column.tobytes(), "little") for column in integers.T]
    assert numbers == [2, 0, 1, 0, 2, 1, 7, 300, 1]
    assert dense(unpack(encoded(*numbers), 3, 2)).tolist() == matrices.tolist()


VALID = encoded(1, 1, 0, 3, 5, 5)  # two images with one entry each, for two classes
DAMAGED = {
    "no text": None,
    "a number": 3,
    "no base64": "no base64!",
    "not ASCII": "ä" * 8,
    "no zlib": base64.b64encode(b"no zlib stream").decode(),
    "truncated": base64.b64encode(base64.b64decode(VALID)[:-3]).decode(),
    "more behind the stream": base64.b64encode(base64.b64decode(VALID) + b"more").decode(),
    "half an integer": base64.b64encode(zlib.compress(bytes(6))).decode(),
    "empty": base64.b64encode(zlib.compress(b"")).decode(),
    "an image too few": encoded(1, 0, 5),
    "counts missing": encoded(1, 1, 0, 3, 5),
    "an integer too many": encoded(1, 1, 0, 3, 5, 5, 5),
    "more entries than a matrix has": encoded(5, 0, *range(5), *[1] * 5),
    "an entry behind the matrix": encoded(1, 1, 0, 4, 5, 5),
    "an entry twice": encoded(2, 0, 1, 1, 5, 5),
    "entries in another order": encoded(2, 0, 2, 1, 5, 5),
    "a count of zero": encoded(1, 1, 0, 3, 0, 5),
}


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_text_is_refused(text: object) -> None:
    unpack(VALID, 2, 2)
    with pytest.raises(DataError, match="confusion_per_image: "):
        unpack(text, 2, 2)


@pytest.mark.parametrize(
    ("num_images", "num_classes"),
    [(1, 2), (3, 2), (0, 2), (-1, 2), (2.0, 2), ("2", 2), (True, 2), (10**15, 2), (2, 1), (2, 0), (2, 10**9)],
)
def test_a_text_of_other_images_or_classes_is_refused(num_images: object, num_classes: int) -> None:
    with pytest.raises(DataError, match="confusion_per_image: "):
        unpack(VALID, num_images, num_classes)


def test_a_small_text_cannot_fill_the_memory() -> None:
    text = base64.b64encode(zlib.compress(bytes(2**27))).decode()
    tracemalloc.start()
    with pytest.raises(DataError, match="truncated or too long"):
        unpack(text, 4, 3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(text) < 2**18 and peak < 2**21


def test_too_many_matrices_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    matrices = np.ones((3, 2, 2), np.int64)
    monkeypatch.setattr(image_confusions, "_MAX_VALUES", 12)
    assert unpack(packed(matrices), 3, 2).num_images == 3
    monkeypatch.setattr(image_confusions, "_MAX_VALUES", 11)
    assert packed(matrices) is None
