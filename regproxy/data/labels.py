"""Label files: the train id of each value on disk, the colours of the classes, decoding."""

import colorsys
import io

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from regproxy.config.dataset import IGNORE_LABEL, DataConfig
from regproxy.config.formats import FORMATS
from regproxy.errors import ConfigError, DataError


def label_table(data: DataConfig) -> np.ndarray:
    """Return the train id of each label value on disk: int16 (256,), 255 for void, -1 for unknown values.

    Classes of the format that are not in `data.classes` are void.

    Raises:
        ConfigError: a void label is not in 0..255, or is the value of a class of a folder data set.
    """
    official = FORMATS[data.format].values
    values = official or dict(enumerate(data.classes)) | {IGNORE_LABEL: None}
    train_ids = {name: train_id for train_id, name in enumerate(data.classes)}
    table = np.full(256, -1, np.int16)
    for value, name in values.items():
        table[value] = train_ids.get(name, IGNORE_LABEL)
    for value in data.void_labels:
        invalid = f"data set {data.name}: void label {value} is invalid:"
        if not 0 <= value <= 255:
            raise ConfigError(f"{invalid} expected 0..255. Correct it.")
        if not official and value < data.num_classes:
            raise ConfigError(
                f"{invalid} it is also the value of class {data.classes[value]!r}. "
                "Remove it from void_labels or renumber the labels."
            )
        table[value] = IGNORE_LABEL
    return table


def palette(data: DataConfig) -> np.ndarray:
    """Return the colours of K classes, uint8 (K, 3) RGB: official, or generated for a folder data set."""
    official = FORMATS[data.format].palette
    if official:
        return np.array([official[name] for name in data.classes], np.uint8)
    colours = []
    for index in range(data.num_classes):
        # Steps of the golden ratio keep the hues of neighbouring ids far apart for any number of classes.
        hue = (0.58 + index * 0.61803399) % 1
        saturation, value = ((0.62, 0.88), (0.80, 0.62), (0.42, 0.96))[index % 3]
        colours.append(colorsys.hsv_to_rgb(hue, saturation, value))
    return np.rint(255 * np.array(colours)).astype(np.uint8)


def read_label(encoded: bytes, *, table: np.ndarray) -> np.ndarray:
    """Decode a label PNG to train ids, uint8 (H, W). A palette image is read as its indices.

    Args:
        table: train id of each value on disk, int16 (256,), negative for unknown values (see `label_table`).

    Raises:
        DataError: the label is not a PNG, is damaged, has several channels, or has unknown values.
    """
    return map_values(decode_label(encoded), table)


def decode_label(encoded: bytes) -> np.ndarray:
    """Decode a label PNG to the values on disk, uint8 or wider (H, W). A palette image gives its indices.

    Raises:
        DataError: the label is not a PNG, is damaged or has several channels.
    """
    try:
        # Not OpenCV, which returns a palette's colours instead of its indices.
        with Image.open(io.BytesIO(encoded), formats=("PNG",)) as picture:
            mode = picture.mode
            values = np.asarray(picture)
    except UnidentifiedImageError:
        raise DataError("the label is not a PNG image. Save it as a single-channel PNG.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"the label cannot be decoded ({error}). Replace it.") from None
    if values.ndim != 2:
        raise DataError(
            f"the label is invalid: expected one channel of class ids; got {values.shape[2]} ({mode}). "
            "Map its colours to ids and save it as a single-channel PNG."
        )
    if values.dtype == np.uint8:
        # Pillow stretches grey PNGs of 2 and 4 bits to 0..255. Bytes 24 and 25 are bit depth and colour type.
        depth, colour_type = encoded[24], encoded[25]
        return values // ({2: 85, 4: 17}.get(depth, 1) if colour_type == 0 else 1)
    if values.dtype == np.bool_:
        return (values.view(np.uint8) != 0).view(np.uint8)  # Pillow stores true as 255
    return values


def map_values(values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return the train ids, uint8 (H, W), of values on disk; raise DataError for a value of no class.

    Args:
        values: from `decode_label`.
        table: from `label_table`.
    """
    if values.dtype == np.uint8:
        ids = cv2.LUT(values, table)
    else:  # values above 255 are unknown
        ids = np.append(table, np.int16(-1))[np.minimum(values, 256)]
    if ids.min() < 0:
        known, unknown = value_ranges(np.flatnonzero(table >= 0)), value_ranges(np.unique(values[ids < 0]))
        raise DataError(
            f"the label is invalid: expected values {known}; got {unknown}. "
            "Correct the label or add the values to void_labels."
        )
    return ids.astype(np.uint8)


def value_ranges(values: np.ndarray) -> str:
    """Return sorted integers as text such as "0..4, 7, 255"."""
    runs = np.split(values, np.flatnonzero(np.diff(values) > 1) + 1)
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}..{run[-1]}" for run in runs)
