"""Official class tables, label values, and the pairs found in folders."""

from pathlib import Path

import numpy as np
import pytest

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import FORMATS, resolve_classes
from regproxy.data.labels import label_table, palette
from regproxy.data.pairs import Pair, find_pairs
from regproxy.errors import ConfigError


def config(format: str, classes: tuple[str, ...] | None = None, **more) -> DataConfig:
    values = {"name": "set", "root": "nowhere", "allow_partial": True} | more
    return DataConfig(format=format, classes=resolve_classes(format, classes, "here"), **values)


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("format", "count", "images"), [("ade20k", 150, (20_210, 2_000)), ("cityscapes", 19, (2_975, 500))]
)
def test_official_tables(format: str, count: int, images: tuple[int, int]) -> None:
    spec = FORMATS[format]
    assert len(set(spec.classes)) == len(spec.classes) == len(spec.palette) == count
    assert spec.expected == images
    assert all(name == name.strip() for name in spec.classes)
    assert palette(config(format)).shape == (count, 3)


def test_ade20k_labels_are_shifted_by_one() -> None:
    table = label_table(config("ade20k"))
    assert table.dtype == np.int16
    assert table[0] == 255
    assert table[1:151].tolist() == list(range(150))
    assert (table[151:] == -1).all()


def test_cityscapes_label_ids() -> None:
    table = label_table(config("cityscapes"))
    known = {7: 0, 8: 1, 11: 2, 17: 5, 21: 8, 23: 10, 24: 11, 26: 13, 28: 15, 31: 16, 33: 18}
    assert {value: table[value] for value in known} == known
    assert (table[[0, 1, 6, 9, 10, 16, 18, 29, 30, 255]] == 255).all()
    assert (table[34:255] == -1).all()
    assert sorted(table[(table >= 0) & (table < 255)]) == list(range(19))


def test_subset_is_renumbered_and_the_rest_is_void() -> None:
    data = config("cityscapes", ("car", "road"), void_labels=(40,))
    table = label_table(data)
    assert (table[26], table[7], table[8], table[40], table[41]) == (0, 1, 255, 255, -1)
    assert palette(data).tolist() == [[0, 0, 142], [128, 64, 128]]


def test_folder_labels() -> None:
    data = config("folder", ("a", "b", "c"), void_labels=(11,))
    table = label_table(data)
    assert (table[:4].tolist(), table[11], table[255]) == ([0, 1, 2, -1], 255, 255)
    assert len({tuple(colour) for colour in palette(config("folder", tuple("abcdefghijklmnop")))}) == 16


@pytest.mark.parametrize(
    ("format", "classes", "message"),
    [
        ("folder", None, "classes is missing"),
        ("cityscapes", (), "classes is missing"),
        ("ade20k", ("sky", "raod"), "'raod' is not known.*did you mean 'road'"),
        ("folder", ("a", "b", "a"), "classes repeats a:"),
        ("folder", tuple(map(str, range(256))), "at most 255"),
        ("ade", None, "did you mean 'ade20k'"),
    ],
)
def test_refused_classes(format: str, classes: tuple[str, ...] | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_classes(format, classes, "here")


@pytest.mark.parametrize(
    ("void", "message"), [(1, "void and also of class 'b'"), (65_536, r"at least 0 and at most 65535")]
)
def test_refused_void_labels(void: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        label_table(config("folder", ("a", "b"), void_labels=(void,)))


def test_ade20k_pairs_are_sorted(tmp_path: Path) -> None:
    touch(tmp_path, "images/training/b.jpg", "images/training/a.jpg", "images/training/.hidden.jpg")
    touch(tmp_path, "annotations/training/a.png", "annotations/training/b.png")
    data = config("ade20k", root=str(tmp_path))
    pairs, problems = find_pairs(data, "train")
    assert not problems
    assert [pair.id for pair in pairs] == ["a", "b"]
    assert pairs[0].label == tmp_path / "annotations/training/a.png"


def test_cityscapes_pairs(tmp_path: Path) -> None:
    touch(tmp_path, "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png")
    label = "gtFine/val/ulm/ulm_000000_000019_gtFine"
    touch(tmp_path, f"{label}_labelIds.png", f"{label}_color.png", f"{label}_polygons.json")
    pairs, problems = find_pairs(config("cityscapes", root=str(tmp_path)), "val")
    image = tmp_path / "leftImg8bit/val/ulm/ulm_000000_000019_leftImg8bit.png"
    assert pairs == [Pair("ulm/ulm_000000_000019", image, tmp_path / f"{label}_labelIds.png")]
    assert not problems


def test_folder_takes_three_suffixes_and_subfolders(tmp_path: Path) -> None:
    touch(tmp_path, "images/train/a.jpg", "images/train/deep/b.JPEG", "images/train/c.png")
    touch(tmp_path, *(f"annotations/train/{name}.png" for name in ("a", "deep/b", "c")))
    pairs, problems = find_pairs(config("folder", ("x",), root=str(tmp_path)), "train")
    assert [pair.id for pair in pairs] == ["a", "c", "deep/b"]
    assert not problems


def test_folder_problems_are_named(tmp_path: Path) -> None:
    data = config("folder", ("x",), root=str(tmp_path))
    assert "root nowhere is missing" in find_pairs(config("folder", ("x",)), "train")[1][0]
    touch(tmp_path, "images/train/a.jpg", "images/train/b.jpg")
    (problem,) = find_pairs(data, "train")[1]
    assert str(tmp_path / "annotations/train") in problem and "Put the labels (*.png, " in problem
    touch(tmp_path, "annotations/train/b.png", "annotations/train/c.png")
    pairs, (first, second) = find_pairs(data, "train")
    assert [pair.id for pair in pairs] == ["b"]
    assert "a.jpg has no label" in first and "c.png has no image" in second
    touch(tmp_path, "images/train/a.png")
    assert "same id 'a'" in find_pairs(data, "train")[1][0]


def test_official_count_is_expected(tmp_path: Path) -> None:
    touch(tmp_path, "images/training/a.jpg", "annotations/training/a.png")
    options = {"root": str(tmp_path)}
    assert not find_pairs(config("ade20k", **options), "train")[1]
    (problem,) = find_pairs(config("ade20k", allow_partial=False, **options), "train")[1]
    assert "expected 20,210 ade20k images; got 1." in problem and "allow_partial" in problem
