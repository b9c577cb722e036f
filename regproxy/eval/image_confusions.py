"""The confusion matrix of every image of a split: sparse in memory, and as a text in a result record.

With them the images can be resampled, which shows how far a score depends on the choice of images.

N images, K classes. The text is the base64 of a zlib stream of unsigned 32-bit integers: the number of
nonzero entries of each image (N), then label * K + prediction of each entry, increasing within an image,
then the count of each entry. Bytes of the same weight lie together, which makes the text a quarter shorter,
because the high bytes are mostly 0.
"""

import base64
import binascii
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from regproxy.errors import DataError

_MAX_VALUES = 2**23  # nonzero entries of a split, and images x classes; bounds memory for damaged records
_BYTES = 4  # of one integer


@dataclass(frozen=True)
class SparseMatrix:
    """The nonzero entries of a confusion matrix (K, K): label * K + prediction, increasing, and counts."""

    indices: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, matrix: np.ndarray) -> "SparseMatrix":
        """Return the nonzero entries of a matrix (K, K) of counts below 2^32."""
        indices = np.flatnonzero(matrix)
        return cls(indices, matrix.ravel()[indices])


@dataclass(frozen=True)
class ImageConfusions:
    """The nonzero entries of the confusion matrices of N images: one line per entry, image by image.

    `images` are 0..N-1, `labels` and `predictions` 0..K-1, `counts` are pixels; all int64.
    """

    num_images: int
    num_classes: int
    images: np.ndarray
    labels: np.ndarray
    predictions: np.ndarray
    counts: np.ndarray

    def total(self) -> np.ndarray:
        """Return the sum of the matrices: pixels by label (rows) and prediction (columns), int64 (K, K)."""
        total = np.zeros((self.num_classes,) * 2, np.int64)
        np.add.at(total, (self.labels, self.predictions), self.counts)
        return total

    def correct(self) -> np.ndarray:
        """Return the correct pixels of each image and class, int64 (N, K)."""
        right = self.labels == self.predictions
        return self._sums(self.images[right], self.labels[right], self.counts[right])

    def labelled(self) -> np.ndarray:
        """Return the pixels of each image that have each label, int64 (N, K)."""
        return self._sums(self.images, self.labels, self.counts)

    def predicted(self) -> np.ndarray:
        """Return the valid pixels of each image with each prediction, int64 (N, K)."""
        return self._sums(self.images, self.predictions, self.counts)

    def _sums(self, images: np.ndarray, classes: np.ndarray, counts: np.ndarray) -> np.ndarray:
        sums = np.zeros((self.num_images, self.num_classes), np.int64)
        np.add.at(sums, (images, classes), counts)
        return sums


def pack(matrices: Sequence[SparseMatrix], num_classes: int) -> str | None:
    """Return the confusion matrices of all images as a text; None if they are too many for a record."""
    lengths = np.array([len(matrix.indices) for matrix in matrices], np.int64)
    if max(lengths.sum(), len(matrices) * num_classes) > _MAX_VALUES:
        return None
    empty = np.zeros(0, np.int64)
    indices = np.concatenate([empty, *(matrix.indices for matrix in matrices)])
    counts = np.concatenate([empty, *(matrix.counts for matrix in matrices)])
    values = np.concatenate([lengths, indices, counts]).astype("<u4")
    by_weight = np.ascontiguousarray(values.view(np.uint8).reshape(-1, _BYTES).T)
    return base64.b64encode(zlib.compress(by_weight.tobytes(), 9)).decode("ascii")


def unpack(text: object, num_images: object, num_classes: int) -> ImageConfusions:
    """Return the confusion matrices that `pack` wrote, from untrusted values of a record.

    Raises:
        DataError: the text is not that of `num_images` matrices of `num_classes` classes. No more memory than
            for the largest valid record is used to find out.
    """
    if type(text) is not str or type(num_images) is not int or num_images < 1 or num_classes < 1:
        raise DataError("confusion_per_image: expected a text, a number of images and classes")
    if num_images * num_classes > _MAX_VALUES:
        raise DataError(f"confusion_per_image: {num_images} images of {num_classes} classes are too many")
    most = min(num_images * num_classes**2, _MAX_VALUES)
    values = _integers(text, _BYTES * (num_images + 2 * most))
    lengths, rest = values[:num_images], values[num_images:]
    total = int(lengths.sum())
    if len(lengths) != num_images or len(rest) != 2 * total:
        raise DataError(f"confusion_per_image: expected {num_images} matrices and nothing else")
    images = np.repeat(np.arange(num_images), lengths)
    indices, counts = rest[:total], rest[total:]
    falls = (np.diff(indices) <= 0) & (np.diff(images) == 0)
    if total and (falls.any() or indices.max() >= num_classes**2 or counts.min() == 0):
        raise DataError(f"confusion_per_image: an entry is invalid for {num_classes} classes")
    labels, predictions = np.divmod(indices, num_classes)
    return ImageConfusions(num_images, num_classes, images, labels, predictions, counts)


def _integers(text: str, max_bytes: int) -> np.ndarray:
    """Return the integers of a packed text, int64; raise DataError for damage or more than `max_bytes`."""
    stream = zlib.decompressobj()
    try:
        content = stream.decompress(base64.b64decode(text, validate=True), max_bytes)
    except (binascii.Error, ValueError, zlib.error):
        raise DataError("confusion_per_image: expected base64 of a zlib stream") from None
    if not stream.eof or stream.unused_data or len(content) % _BYTES:
        raise DataError("confusion_per_image: the zlib stream is truncated or too long")
    by_weight = np.frombuffer(content, np.uint8).reshape(_BYTES, -1)
    return np.ascontiguousarray(by_weight.T).view("<u4").ravel().astype(np.int64)
