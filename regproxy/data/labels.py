"""Label files: the train id of each value or colour on disk, the colours of the classes, decoding."""

import colorsys
import functools

import cv2
import numpy as np

from regproxy.config.dataset import IGNORE_LABEL, MAX_VALUE, DataConfig
from regproxy.config.formats import FORMATS
from regproxy.data.statistics import count_values
from regproxy.errors import DataError
from regproxy.raw.label_files import LabelPixels, read_pixels

_UNKNOWN = -1
_SHOWN = 3  # unknown colours that a message names


@functools.lru_cache(maxsize=4)
def label_table(data: DataConfig) -> np.ndarray:
    """Return the train id of each label value on disk: int16 (65536,), 255 for void, -1 for unknown values.

    Values come from the data set's `values`, from its format, or are the train ids themselves. Classes of the
    format that are not in `data.classes` are void. So is 255, unless it is the value of a class.
    """
    train_ids = {name: train_id for train_id, name in enumerate(data.classes)}
    table = np.full(MAX_VALUE + 1, _UNKNOWN, np.int16)
    official = FORMATS[data.format].values
    if not official:
        table[IGNORE_LABEL] = IGNORE_LABEL
    for value, name in official.items():
        table[value] = train_ids.get(name, IGNORE_LABEL)
    if not official:
        for train_id, values in enumerate(data.values or [(index,) for index in range(data.num_classes)]):
            table[list(values)] = train_id
    table[list(data.void_labels)] = IGNORE_LABEL
    table.flags.writeable = False
    return table


@functools.lru_cache(maxsize=2)
def colour_table(data: DataConfig) -> np.ndarray:
    """Return the train id of each colour: int16 (2**24,) by 65536 R + 256 G + B, 255 void, -1 unknown."""
    table = np.full(2**24, _UNKNOWN, np.int16)
    for train_id, colours in enumerate(data.colours):
        table[_packed(np.array(colours, np.uint8))] = train_id
    if data.void_colours:
        table[_packed(np.array(data.void_colours, np.uint8))] = IGNORE_LABEL
    table.flags.writeable = False
    return table


def palette(data: DataConfig) -> np.ndarray:
    """Return the colours of K classes, uint8 (K, 3) RGB: the data set's, the format's, or generated ones."""
    official = FORMATS[data.format].palette
    if data.colours:
        return np.array([colours[0] for colours in data.colours], np.uint8)
    if official:
        return np.array([official[name] for name in data.classes], np.uint8)
    colours = []
    for index in range(data.num_classes):
        # Steps of the golden ratio keep the hues of neighbouring ids far apart for any number of classes.
        hue = (0.58 + index * 0.61803399) % 1
        saturation, value = ((0.62, 0.88), (0.80, 0.62), (0.42, 0.96))[index % 3]
        colours.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.rint(255 * np.array(colours)).astype(np.uint8)


def read_label(encoded: bytes, *, data: DataConfig, counts: dict[int, int] | None = None) -> np.ndarray:
    """Decode a label file to train ids, uint8 (H, W).

    A label in colours is read by `data.colours` if the data set has them. So is one with a palette, unless
    `data.values` gives the meaning of its indices. If all colours are grey, one channel holds them too.

    Args:
        encoded: the file.
        data: gives the classes, and their values or colours.
        counts: receives the pixels of each value, of unknown values too, but of no label in colours.

    Raises:
        DataError: the file is not a label, is damaged, or has unknown values or colours.
    """
    try:
        pixels = read_pixels(encoded)
    except DataError as error:
        raise DataError(f"the label is invalid: {error}") from None
    values = pixels.values
    if data.colours:
        if pixels.palette is not None and not data.values:
            return _from_palette(pixels, data)
        grey = all(len(set(colour)) == 1 for colours in data.colours for colour in colours)
        if grey and not data.values and not pixels.is_colour and values.dtype in (np.bool_, np.uint8):
            values = np.uint8(255) * values if values.dtype == np.bool_ else values
            values = np.repeat(values[..., None], 3, axis=2)
        if values.ndim == 3:
            return _from_colours(values, data)
    if values.ndim == 3:
        if not (values == values[..., :1]).all():
            raise DataError(
                f"the label is invalid: expected one channel of class ids; got {values.shape[2]} "
                f"({pixels.mode}). Give the colour of each class under colours, or save it as a "
                "single-channel PNG of ids."
            )
        values = np.ascontiguousarray(values[..., 0])
    if counts is not None:
        counts |= count_values(values)
    return _from_values(values, label_table(data))


def _from_values(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the train ids of (H, W) label values, uint8."""
    outside = None
    if values.dtype == np.uint8:
        ids = cv2.LUT(values, table[:256])
    else:  # 1, 16 or 32 bits
        ids = table[values.astype(np.uint16)]
        if values.dtype.itemsize > 2:
            outside = (values < 0) | (values > MAX_VALUE)
            ids[outside] = _UNKNOWN
    if ids.min() < 0:
        known, unknown = value_ranges(np.flatnonzero(table >= 0)), value_ranges(np.unique(values[ids < 0]))
        remedy = (
            "Correct the label, set the right format, give the values to classes under values, or add them "
            "to void_labels."
        )
        if outside is not None and outside.any():
            remedy = f"Renumber the labels: only 0..{MAX_VALUE} can be classes or void."
        raise DataError(f"the label is invalid: expected values {known}; got {unknown}. {remedy}")
    return ids.astype(np.uint8)


def _from_colours(values: np.ndarray, data: DataConfig) -> np.ndarray:
    """Return the train ids of (H, W, 3) colours, uint8."""
    if values.dtype != np.uint8:
        raise DataError(f"the label is invalid: it has colours of type {values.dtype}. Save it with 8 bits.")
    packed = _packed(values)
    ids = colour_table(data)[packed]
    if ids.min() < 0:
        colours, counts = np.unique(packed[ids < 0], return_counts=True)
        raise DataError(_unknown_colours(colours, counts / ids.size, data))
    return ids.astype(np.uint8)


def _from_palette(pixels: LabelPixels, data: DataConfig) -> np.ndarray:
    """Return the train ids of (H, W) indices of a palette by their colours, uint8."""
    packed = np.zeros(256, np.int32)
    packed[: len(pixels.palette)] = _packed(pixels.palette)
    table = colour_table(data)[packed]
    ids = cv2.LUT(pixels.values, table)
    if ids.min() < 0:
        shares = np.bincount(pixels.values.ravel(), minlength=256) / ids.size
        unknown = (table < 0) & (shares > 0)
        message = _unknown_colours(packed[unknown], shares[unknown], data)
        raise DataError(f"{message} Or list values, if the indices of the palette are the labels.")
    return ids.astype(np.uint8)


def _unknown_colours(packed: np.ndarray, shares: np.ndarray, data: DataConfig) -> str:
    order = np.argsort(-shares, kind="stable")
    first = [
        [int(colour) >> 16, int(colour) >> 8 & 255, int(colour) & 255] for colour in packed[order[:_SHOWN]]
    ]
    named = ", ".join(
        f"{colour} ({share:.2%} of pixels)" for colour, share in zip(first, shares[order], strict=False)
    )
    more = f" and {len(packed) - _SHOWN} more" if len(packed) > _SHOWN else ""
    cause = " Many colours come from resizing or JPEG: use the original labels." if len(packed) > 50 else ""
    return (
        f"the label is invalid: no class has the colours {named}{more}. Give them to classes under "
        f"colours, or add them to void_colours: {first}.{cause}"
    )


def _packed(colours: np.ndarray) -> np.ndarray:
    """Return (..., 3) uint8 RGB as integers 65536 R + 256 G + B, int32 (...)."""
    wide = colours.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def value_ranges(values: np.ndarray) -> str:
    """Return sorted integers as text such as "0..4, 7, 255"."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
