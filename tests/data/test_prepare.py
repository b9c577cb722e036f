"""Preparation: accepted files, messages about invalid ones, and equal bytes from equal input."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regproxy.config.dataset import DataConfig
from regproxy.data.labels import read_label
from regproxy.data.prepare import prepare
from regproxy.data.shards import MANIFEST, Shards
from regproxy.errors import DataError

LABEL = (np.arange(24 * 32).reshape(24, 32) % 3).astype(np.uint8)
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels)[1].tobytes()


def four_bit_grey_png(label: np.ndarray) -> bytes:
    """Return a 4-bit greyscale PNG, as tools that shrink PNG files write it."""
    packed = (label[:, ::2] << 4) | label[:, 1::2]
    rows = b"".join(b"\0" + row.tobytes() for row in packed)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", label.shape[1], label.shape[0], 4, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def palette_png(label: np.ndarray) -> bytes:
    picture = Image.fromarray(label).convert("P")
    picture.putdata(label.ravel().tolist())
    picture.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Write a folder data set of five training and two validation pairs; return its config."""
    for split, count in (("train", 5), ("val", 2)):
        for kind in ("images", "annotations"):
            (tmp_path / "raw" / kind / split).mkdir(parents=True)
        for index in range(count):
            (tmp_path / f"raw/images/{split}/p{index}.jpg").write_bytes(jpeg(np.roll(IMAGE, index)))
            label = np.roll(LABEL, index)
            label[0, 0] = 7
            (tmp_path / f"raw/annotations/{split}/p{index}.png").write_bytes(png(label))
    root = str(tmp_path / "raw")
    return DataConfig(name="set", format="folder", root=root, classes=("a", "b", "c"), void_labels=(7,))


@pytest.fixture
def put(data: DataConfig) -> Callable[[str, bytes], None]:
    """Return a function that replaces a file of the data set."""
    return lambda name, content: (Path(data.root) / name).write_bytes(content)


def test_prepared_equals_raw(data: DataConfig, tmp_path: Path) -> None:
    seen = []
    manifest = prepare(data, tmp_path / "out", workers=1, progress=lambda *counts: seen.append(counts))
    assert seen == [(done, 7) for done in range(1, 8)]
    assert manifest["num_images"] == 7
    shards = Shards(tmp_path / "out", "train")
    assert (len(shards), shards.classes) == (5, ("a", "b", "c"))
    shards.verify()
    for index in range(5):
        record = shards.read(index)
        assert (record.id, record.height, record.width) == (f"p{index}", 24, 32)
        assert bytes(record.image) == (Path(data.root) / f"images/train/p{index}.jpg").read_bytes()
        label = cv2.imdecode(np.frombuffer(record.label, np.uint8), cv2.IMREAD_UNCHANGED)
        expected = np.roll(LABEL, index)
        expected[0, 0] = 255
        assert (label == expected).all()


def test_same_bytes_for_any_number_of_workers(data: DataConfig, tmp_path: Path) -> None:
    outputs = []
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        prepare(data, out, workers=workers)
        outputs.append({file.name: file.read_bytes() for file in sorted(out.iterdir())})
    assert outputs[0] == outputs[1]
    assert list(outputs[0]) == [MANIFEST, "train-00000.arrow", "val-00000.arrow"]


@pytest.mark.parametrize(
    "image",
    [
        jpeg(IMAGE[..., 0]),
        png(np.dstack([IMAGE, IMAGE[..., :1]])),
        palette_png(LABEL),
    ],
    ids=["grey", "RGBA", "palette"],
)
def test_accepted_images(data: DataConfig, put: Callable, tmp_path: Path, image: bytes) -> None:
    put("images/train/p0.jpg", image)
    prepare(data, tmp_path / "out", workers=1)
    assert bytes(Shards(tmp_path / "out", "train").read(0).image) == image


@pytest.mark.parametrize(
    "label",
    [png(LABEL), png(LABEL.astype(np.uint16)), palette_png(LABEL), four_bit_grey_png(LABEL)],
    ids=["8 bit", "16 bit", "palette", "4 bit"],
)
def test_accepted_labels(data: DataConfig, label: bytes) -> None:
    assert (read_label(label, data=data) == LABEL).all()


def test_one_bit_label(data: DataConfig) -> None:
    buffer = io.BytesIO()
    Image.fromarray(LABEL == 1).save(buffer, "PNG")
    assert (read_label(buffer.getvalue(), data=data) == (LABEL == 1)).all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("images/train/p1.jpg", b"no image", r"images/train/p1\.jpg: the image cannot be decoded"),
        ("images/train/p1.jpg", b"", "cannot be decoded"),
        ("images/train/p1.jpg", jpeg(IMAGE)[:-200], "cannot be decoded"),
        (
            "images/val/p1.jpg",
            jpeg(IMAGE[:20]),
            r"val/p1\.png is invalid: .* width x height 32 x 20; got 32 x 24",
        ),
        ("annotations/train/p1.png", png(LABEL + 4), r"expected values 0..2, 7, 255; got 4..6"),
        ("annotations/train/p1.png", png(LABEL.astype(np.uint16) + 298), "got 298..300"),
        (
            "annotations/train/p1.png",
            png(IMAGE),
            r"p1\.png: .* one channel of class ids; got 3 \(RGB\).*Give the colour of each class",
        ),
        ("annotations/train/p1.png", png(np.dstack([IMAGE, LABEL])), "transparency varies"),
        ("annotations/train/p1.png", jpeg(LABEL), "it is a JPEG, which changes values"),
        ("annotations/train/p1.png", png(LABEL)[:80], "its data break off or are damaged"),
        ("annotations/train/p9.png", png(LABEL), "has no image of the same name"),
        ("images/train/p9.jpg", jpeg(IMAGE), "has no label: expected"),
    ],
)
def test_refused_files(
    data: DataConfig, put: Callable, tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    put(name, content)
    with pytest.raises(DataError, match=message) as error:
        prepare(data, tmp_path / "out", workers=1)
    assert "1 problem." in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["raw"]


def test_missing_root_is_one_problem(tmp_path: Path) -> None:
    data = DataConfig(name="set", format="folder", root=str(tmp_path / "no"), classes=("a",))
    with pytest.raises(DataError, match=r"1 problem\."):
        prepare(data, tmp_path / "out")


def test_all_problems_are_counted_and_ten_shown(data: DataConfig, put: Callable, tmp_path: Path) -> None:
    for split, count in (("train", 5), ("val", 2)):
        for index in range(count):
            put(f"images/{split}/p{index}.jpg", b"no image")
            put(f"annotations/{split}/p{index}.png", b"no label")
    with pytest.raises(DataError, match="14 problems") as error:
        prepare(data, tmp_path / "out", workers=2)
    assert str(error.value).count("\n  ") == 11 and "and 4 more" in str(error.value)


def test_failure_keeps_the_earlier_output(data: DataConfig, put: Callable, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(data, out, workers=1)
    before = {file: file.read_bytes() for file in out.iterdir()}
    put("images/val/p0.jpg", b"no image")
    with pytest.raises(DataError):
        prepare(data, out, workers=1)
    assert {file: file.read_bytes() for file in out.iterdir()} == before

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(data, out, workers=2, progress=interrupt)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "raw"]
    put("images/val/p0.jpg", jpeg(IMAGE))
    prepare(data, out, workers=1)
    assert {file.name for file in out.iterdir()} == {file.name for file in before}
