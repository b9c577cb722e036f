"""A data set in a profile: label values, colours, splits and file names, each mistake named in a sentence."""

from pathlib import Path

import pytest

from regproxy.config.dataset import DataConfig, Splits, root_folder
from regproxy.config.dataset_entry import DatasetEntry
from regproxy.config.parse import parse
from regproxy.errors import ConfigError

THREE = {"classes": ["sky", "road", "car"]}


def resolve(**keys: object) -> DataConfig:
    content = {"format": "folder", "root": "data/mine"} | keys
    return parse(DatasetEntry, content, "mine.yaml").resolve("mine", "mine.yaml")


def test_values_give_classes_in_their_order() -> None:
    data = resolve(values={"road": 7, "car": [26, 65535]})
    assert (data.classes, data.values) == (("road", "car"), ((7,), (26, 65535)))
    assert resolve(classes=["car", "road"], values={"road": 7, "car": 1}).values == ((1,), (7,))


def test_colours_give_classes_in_their_order() -> None:
    data = resolve(colours={"road": [128, 64, 128], "car": "#00008e", "tree": [[1, 2, 3], [4, 5, 6]]})
    assert data.classes == ("road", "car", "tree")
    assert data.colours == (((128, 64, 128),), ((0, 0, 142),), ((1, 2, 3), (4, 5, 6)))


@pytest.mark.parametrize(
    "text",
    [
        "name,r,g,b\nVoid,0,0,0\nroad,128,64,128\ncar,0,0,142\n",
        "\ufeffName; R; G; B\r\nVoid; 0; 0; 0\r\nroad; 128; 64; 128\r\ncar; 0; 0; 142\r\n\r\n",
        "id,class,colour\n0,Void,#000000\n1,road,#804080\n2,car,#00008E\n",
    ],
    ids=["name r g b", "semicolons", "classes.csv of predictions"],
)
def test_a_file_of_colours(tmp_path: Path, text: str) -> None:
    (tmp_path / "class_dict.csv").write_text(text, encoding="utf-8", newline="")
    keys = {"root": str(tmp_path), "colours": "class_dict.csv"}
    assert resolve(**keys).classes == ("Void", "road", "car")
    data = resolve(**keys, void_colours=[[0, 0, 0]])
    assert (data.classes, data.colours) == (("road", "car"), (((128, 64, 128),), ((0, 0, 142),)))
    subset = resolve(**keys, classes=["car"])
    assert (subset.colours, subset.void_colours) == ((((0, 0, 142),),), ((0, 0, 0), (128, 64, 128)))


def test_a_file_of_colours_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("colours.csv").write_text("name,r,g,b\nroad,1,2,3\n")
    assert resolve(colours="colours.csv").colours == (((1, 2, 3),),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"class_dict.csv nor class_dict.csv is a file\. Correct the path"),
        ("name,red\nroad,1\n", r"expected the columns name, r, g, b or name, colour; got name, red"),
        ("name,r,g,b\nroad,1,2\n", r"line 2 is invalid: expected \[R, G, B\]"),
        ("name,r,g,b\nroad,1,2,300\n", r"line 2 is invalid: .*300"),
        ("name,r,g,b\nroad,1,2,3\nroad,4,5,6\n", r"line 3 repeats the class 'road'"),
        ("name,r,g,b\nroad,1,2,3\ncar,1,2,3\n", r"colour \[1, 2, 3\] is given twice, for 'road' and 'car'"),
        ("name,r,g,b\n,1,2,3\n", r"line 2 has no class name"),
        ("", r"got none"),
    ],
)
def test_refused_files_of_colours(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "class_dict.csv").write_text(text)
    with pytest.raises(ConfigError, match=message):
        resolve(root=str(tmp_path), colours="class_dict.csv")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"values": {"sky": 1, "road": 2, "car": 2}}, r"value 2 is given twice, for 'road' and 'car'"),
        ({"values": {"sky": [1, 1]}}, r"value 1 is given twice"),
        ({"values": {"sky": 1, "raod": 2, "car": 3}, **THREE}, r"values lacks road|'raod'.*mean 'road'"),
        ({"values": {"sky": 1, "road": 2}, **THREE}, r"values lacks car: add each class"),
        ({"values": {"sky": 255}, "void_labels": [255]}, r"value 255 is void and also of class 'sky'"),
        ({"values": {"sky": 65536}}, r"values is invalid: expected 0\.\.65535; got 65536"),
        ({"values": {"sky": "1"}}, r"values.sky is invalid: expected an integer or a list of them; got '1'"),
        ({"values": {"sky": True}}, r"values.sky is invalid"),
        ({"values": {"sky": []}}, r"values.sky is invalid"),
        ({"values": {0: "sky"}}, r"class names as keys, such as road: 7.*got 0"),
        ({"values": [0, 1]}, r"expected a mapping such as road: 7"),
        ({"colours": {"sky": [0, 0]}}, r"colours.sky is invalid: expected \[R, G, B\]"),
        ({"colours": {"sky": [0, 0, 256]}}, r"colours.sky is invalid"),
        ({"colours": {"sky": None}}, r"colours.sky is invalid"),
        ({"colours": {"sky": [1, 1, 1], "road": [1, 1, 1]}}, r"colour \[1, 1, 1\] is given twice"),
        ({"colours": {"sky": [0, 0, 0]}, "void_colours": [[0, 0, 0]]}, r"void and also of class 'sky'"),
        ({"colours": {"sky": [0, 0, 0]}, "values": {"road": 1}}, r"colours: class: 'sky' is not known"),
        ({"void_colours": [[0, 0, 300]], **THREE}, r"void_colours is invalid"),
        ({"void_labels": [1], **THREE}, r"value 1 is void and also of class 'road'"),
        ({}, r"classes is missing.*values or colours"),
        ({"format": "cityscapes", "values": {"road": 1}}, r"format cityscapes defines its own"),
        ({"train_split": "train", **THREE}, r"'train_split' is not known"),
        ({"splits": {"validation": "x"}, **THREE}, r"splits: key: 'validation' is not known"),
        ({"splits": {"train": "all", "val": "all"}, **THREE}, r"splits names 'all' twice"),
        ({"splits": {"train": ""}, **THREE}, r"splits has an empty name"),
        ({"splits": {"val": "dev"}, "val_share": 0.2, **THREE}, r"splits and val_share exclude each other"),
        ({"folds": 5, "fold": 0, "val_share": 0.2, **THREE}, r"val_share and folds exclude each other"),
        ({"folds": 5, **THREE}, r"folds and fold belong together"),
        ({"folds": 5, "fold": 5, **THREE}, r"fold is invalid: expected at least 0 and at most 4; got 5"),
        ({"folds": 1, "fold": 0, **THREE}, r"folds is invalid: expected at least 2; got 1"),
        ({"test_share": 0.1, **THREE}, r"test_share needs val_share"),
        ({"val_share": 0.5, "test_share": 0.5, **THREE}, r"leave no training images"),
        ({"val_share": 20.0, **THREE}, r"val_share is invalid: expected more than 0 and at most 1; got 20"),
        ({"image_range": [5, 5], **THREE}, r"image_range is invalid: expected \[low, high\]"),
        ({"image_range": [0], **THREE}, r"image_range is invalid: expected 2 values"),
        ({"exif": "aply", **THREE}, r"'aply' is not known, allowed are ignore, apply"),
        ({"label_suffix": "_L", **THREE}, r'label_suffix is invalid: expected an ending such as "_L.png"'),
    ],
)
def test_mistakes_are_named(keys: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        resolve(**keys)
    assert str(error.value).startswith("mine.yaml")


def test_splits_and_their_names() -> None:
    assert resolve(**THREE).split_names == ("train", "val")
    data = resolve(**THREE, splits={"val": "validation", "test": "lists/test.txt"})
    assert data.splits == Splits(val="validation", test="lists/test.txt")
    assert data.split_names == ("train", "val", "test")
    assert resolve(**THREE, val_share=0.2, test_share=0.1).split_names == ("train", "val", "test")
    assert resolve(**THREE, folds=5, fold=4).split_names == ("train", "val")
    assert resolve(format="ade20k", splits={"test": "testing"}).split_names == ("train", "val", "test")


def test_home_and_variables_in_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DATA_PLACE", "/disk")
    monkeypatch.delenv("NO_SUCH_PLACE", raising=False)
    assert root_folder("~/mine") == tmp_path / "mine"
    assert root_folder("${DATA_PLACE}/$DATA_PLACE") == Path("/disk//disk")
    with pytest.raises(ConfigError, match="variable NO_SUCH_PLACE is not set"):
        root_folder("$NO_SUCH_PLACE/mine")
