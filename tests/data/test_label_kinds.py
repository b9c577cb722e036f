"""Label files as people have them: kinds, depths, values and colours; mistakes are named."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from regproxy.config.dataset import DataConfig
from regproxy.data.labels import read_label
from regproxy.errors import DataError

IDS = (np.arange(24 * 32).reshape(24, 32) % 3).astype(np.uint8)
COLOURS = np.array([[0, 0, 0], [128, 64, 128], [0, 0, 142]], np.uint8)
KEYS = tuple((tuple(colour),) for colour in COLOURS.tolist())


def config(**more) -> DataConfig:
    return DataConfig(**{"name": "set", "format": "folder", "root": "", "classes": ("a", "b", "c")} | more)


def pillow(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    return pillow(Image.fromarray(pixels), kind, **options)


def with_palette(indices: np.ndarray, colours: np.ndarray) -> Image.Image:
    picture = Image.fromarray(indices)
    picture.putpalette(colours.tobytes())
    return picture


ALPHA = np.full_like(IDS, 255)


@pytest.mark.parametrize(
    "label",
    [
        encoded(IDS, "TIFF"),
        encoded(IDS, "TIFF", compression="tiff_lzw"),
        encoded(IDS.astype(np.uint16), "TIFF"),
        encoded(IDS.astype(np.int32), "TIFF"),
        encoded(IDS, "BMP"),
        pillow(with_palette(IDS, COLOURS), "TIFF"),
        pillow(with_palette(IDS, COLOURS), "BMP"),
        pillow(with_palette(IDS, COLOURS), bits=2),
        encoded(np.dstack([IDS] * 3)),
        encoded(np.dstack([IDS] * 3), "TIFF"),
        encoded(np.dstack([IDS] * 3 + [ALPHA])),
        pillow(Image.fromarray(np.dstack([IDS, ALPHA]), "LA")),
        cv2.imencode(".png", np.dstack([IDS.astype(np.uint16)] * 3))[1].tobytes(),
    ],
)
def test_accepted_kinds(label: bytes) -> None:
    np.testing.assert_array_equal(read_label(label, data=config()), IDS)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_one_bit_labels(kind: str) -> None:
    np.testing.assert_array_equal(read_label(encoded(IDS == 1, kind), data=config()), IDS == 1)


def test_values_of_your_own() -> None:
    data = config(values=((1, 300), (255,), (65_535,)), void_labels=(0,))
    label = np.array([[1, 300, 255, 65_535, 0]], np.uint16)
    assert read_label(encoded(label), data=data).tolist() == [[0, 0, 1, 2, 255]]
    masks = config(classes=("background", "object"), values=((0,), (255,)))
    assert read_label(encoded(np.uint8([[0, 255]])), data=masks).tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"expected values 0, 255; got 1\. .*under values.*void_labels"):
        read_label(encoded(np.uint8([[0, 1]])), data=masks)


@pytest.mark.parametrize("value", [65_536, -1])
def test_values_beyond_16_bits_are_unknown(value: int) -> None:
    with pytest.raises(DataError, match=rf"got {value}\. Renumber the labels"):
        read_label(encoded(np.array([[0, value]], np.int32), "TIFF"), data=config())


def test_void_65535() -> None:
    label = encoded(np.array([[0, 65_535]], np.uint16))
    assert read_label(label, data=config(void_labels=(65_535,))).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    "label",
    [
        encoded(COLOURS[IDS]),
        encoded(COLOURS[IDS], "TIFF"),
        encoded(COLOURS[IDS], "BMP"),
        encoded(np.dstack([COLOURS[IDS], ALPHA])),
        pillow(with_palette(IDS, COLOURS)),
        pillow(with_palette(2 - IDS, COLOURS[::-1].copy())),
    ],
    ids=["PNG", "TIFF", "BMP", "RGBA", "palette", "palette in another order"],
)
def test_labels_in_colours(label: bytes) -> None:
    np.testing.assert_array_equal(read_label(label, data=config(colours=KEYS)), IDS)


def test_merged_and_void_colours() -> None:
    data = config(colours=(*KEYS[:2], ((0, 0, 142), (0, 0, 70))), void_colours=((224, 224, 192),))
    label = np.uint8([[[0, 0, 70], [0, 0, 142], [224, 224, 192], [128, 64, 128]]])
    assert read_label(encoded(label), data=data).tolist() == [[2, 2, 255, 1]]


def test_unknown_colours_are_named_with_their_share() -> None:
    label = COLOURS[IDS]
    label[:6] = (1, 2, 3)
    message = r"no class has the colours \[1, 2, 3\] \(25.00% of pixels\).*void_colours: \[\[1, 2, 3\]\]"
    with pytest.raises(DataError, match=message):
        read_label(encoded(label), data=config(colours=KEYS))
    indices = IDS.copy()
    indices[:6] = 3
    picture = with_palette(indices, np.vstack([COLOURS, [[1, 2, 3]]]).astype(np.uint8))
    with pytest.raises(DataError, match=message + ".*list values"):
        read_label(pillow(picture), data=config(colours=KEYS))
    values = config(colours=KEYS, values=((0,), (1,), (2, 3)))
    np.testing.assert_array_equal(read_label(pillow(picture), data=values), np.minimum(indices, 2))


def test_colours_for_pictures_only() -> None:
    np.testing.assert_array_equal(read_label(encoded(IDS), data=config(colours=KEYS)), IDS)


@pytest.mark.parametrize("pixels", [np.uint8([[0, 255]]), np.array([[False, True]])])
def test_grey_colours_in_one_channel(pixels: np.ndarray) -> None:
    data = config(classes=("background", "object"), colours=(((0, 0, 0),), ((255, 255, 255),)))
    assert read_label(encoded(pixels), data=data).tolist() == [[0, 1]]
    assert read_label(encoded(np.uint8([[[0] * 3, [255] * 3]])), data=data).tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"\[1, 1, 1\]"):
        read_label(encoded(np.uint8([[0, 1]])), data=data)


PAGES = {"save_all": True, "append_images": [Image.fromarray(IDS)]}


@pytest.mark.parametrize(
    ("label", "message"),
    [
        (encoded(COLOURS[IDS], "JPEG"), "it is a JPEG, which changes values near edges"),
        (encoded(COLOURS[IDS]), r"one channel of class ids; got 3 \(RGB\)\. Give the colour of each class"),
        (encoded(np.dstack([COLOURS[IDS], IDS])), "transparency varies"),
        (encoded(IDS.astype(np.float32), "TIFF"), "values of type float32: expected integers"),
        (pillow(Image.fromarray(COLOURS[IDS]).convert("CMYK"), "TIFF"), "its pixels are CMYK"),
        (encoded(IDS, "TIFF", **PAGES), "several pages"),
        (encoded(IDS, "PNG", **PAGES), "animated or has several pages"),
        (encoded(IDS, "TIFF")[:300], "break off"),
        (encoded(IDS)[:60], "break off or are damaged"),
        (b"", "it is not a PNG image, nor a TIFF or BMP"),
    ],
)
def test_refused_labels(label: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"the label is invalid: .*{message}"):
        read_label(label, data=config())
