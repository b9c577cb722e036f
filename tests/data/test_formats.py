"""Official class tables and label values."""

import numpy as np
import pytest

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import FORMATS, resolve_classes
from regproxy.data.labels import label_table, palette
from regproxy.errors import ConfigError


def config(format: str, classes: tuple[str, ...] | None = None, **more) -> DataConfig:
    values = {"name": "set", "root": "nowhere", "allow_partial": True} | more
    return DataConfig(format=format, classes=resolve_classes(format, classes, "here"), **values)


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
        ("folder", ("a", "b\nc"), "names of one line of text"),
        ("folder", ("a", " "), "names of one line of text"),
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


def test_values_of_a_data_set_of_your_own() -> None:
    values = ((1, 300), (255,), (65_535,))
    table = label_table(config("folder", ("a", "b", "c"), values=values, void_labels=(0, 65_534)))
    assert table[[1, 300, 255, 65_535, 0, 65_534]].tolist() == [0, 0, 1, 2, 255, 255]
    assert (table >= 0).sum() == 6
    assert label_table(config("folder", ("a",), values=((7,),)))[[7, 0, 255]].tolist() == [0, -1, 255]


def test_colours_of_a_data_set_are_its_palette() -> None:
    data = config("folder", ("a", "b"), colours=(((1, 2, 3), (9, 9, 9)), ((4, 5, 6),)))
    assert palette(data).tolist() == [[1, 2, 3], [4, 5, 6]]
