"""Preparation of data sets as people have them: a test split, turned photos, files that are left out."""

import dataclasses
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from regproxy.config.dataset import DataConfig, Splits
from regproxy.data.loader import decode
from regproxy.data.prepare import prepare
from regproxy.data.shards import Shards
from regproxy.errors import DataError

LABEL = (np.arange(24 * 32).reshape(24, 32) % 3).astype(np.uint8)
IMAGE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def write(root: Path, split: str, id: str, image: bytes | None = None, label: np.ndarray = LABEL) -> None:
    for kind in ("images", "annotations"):
        (root / kind / split).mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", IMAGE)[1].tobytes() if image is None else image
    (root / f"images/{split}/{id}.jpg").write_bytes(encoded)
    (root / f"annotations/{split}/{id}.png").write_bytes(cv2.imencode(".png", label)[1].tobytes())


@pytest.fixture
def data(tmp_path: Path) -> DataConfig:
    """Write a folder data set of two training pairs and a validation pair; return its config."""
    root = tmp_path / "raw"
    for split, id in (("train", "p0"), ("train", "p1"), ("val", "p2")):
        write(root, split, id)
    return DataConfig(name="set", format="folder", root=str(root), classes=("a", "b", "c"))


def test_a_test_split_has_shards_of_its_own(data: DataConfig, tmp_path: Path) -> None:
    with_test = dataclasses.replace(data, splits=Splits(test="check"))
    write(Path(data.root), "check", "t")
    manifest = prepare(with_test, tmp_path / "out", workers=1)
    assert list(manifest["splits"]) == ["train", "val", "test"] and manifest["num_images"] == 4
    assert Shards(tmp_path / "out", "test").read(0).id == "t"
    prepare(data, tmp_path / "out", workers=1)
    with pytest.raises(DataError, match=r"no split test: it has train, val\. Give the data set a test split"):
        Shards(tmp_path / "out", "test")


def test_a_turned_photo_is_stored_as_its_label_shows_it(data: DataConfig, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    buffer = io.BytesIO()
    Image.fromarray(IMAGE).save(buffer, "PNG", exif=exif)
    upright = np.rot90(LABEL, -1).copy()
    write(Path(data.root), "train", "p0", buffer.getvalue(), upright)
    prepare(data, tmp_path / "out", workers=1)
    record = Shards(tmp_path / "out", "train").read(0)
    image, label = decode(record.image, record.label)
    np.testing.assert_array_equal(image, np.rot90(IMAGE, -1))
    np.testing.assert_array_equal(label, upright)
    assert (record.height, record.width) == (32, 24)


def test_what_is_left_out_is_noted(data: DataConfig, tmp_path: Path) -> None:
    (Path(data.root) / "images/train/.DS_Store").touch()
    notes: list[str] = []
    prepare(data, tmp_path / "out", workers=1, note=notes.append)
    (note,) = notes
    assert note.startswith("set: left out 1 hidden or temporary") and note.endswith("images/train/.DS_Store")


def test_a_photo_that_breaks_off_is_named(data: DataConfig, tmp_path: Path) -> None:
    encoded = cv2.imencode(".jpg", np.tile(IMAGE, (8, 8, 1)))[1].tobytes()
    write(Path(data.root), "val", "p2", encoded[: len(encoded) // 2] + b"\xff\xd9")
    with pytest.raises(DataError, match=r"images/val/p2\.jpg: the image is damaged \(premature end"):
        prepare(data, tmp_path / "out", workers=1)


def test_every_image_of_a_share_is_prepared_once(data: DataConfig, tmp_path: Path) -> None:
    for index in range(40):
        write(tmp_path / "flat", ".", f"p{index}")
    drawn = dataclasses.replace(data, root=str(tmp_path / "flat"), val_share=0.3, test_share=0.2)
    prepare(drawn, tmp_path / "out", workers=1)
    ids = [
        [shards.read(index).id for index in range(len(shards))]
        for shards in (Shards(tmp_path / "out", split) for split in ("train", "val", "test"))
    ]
    assert all(part == sorted(part) and part for part in ids)
    assert sorted(sum(ids, [])) == sorted(f"p{index}" for index in range(40))
