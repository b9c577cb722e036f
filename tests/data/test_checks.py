"""Statistics of prepared data, and mistakes of a whole data set: refused or warned of, with the remedy."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import FORMATS
from regproxy.data.checks import find_mistakes
from regproxy.data.prepare import prepare
from regproxy.data.shards import MANIFEST
from regproxy.data.statistics import SplitCounts, read_statistics
from regproxy.errors import DataError

SIZE = 20  # pixels of a side

Shares = dict[int, float]  # share of the pixels by label value; the rest has the first value
Write = Callable[..., DataConfig]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a data set of one label per item and returns its config."""

    def _write(
        train: Sequence[Shares], val: Sequence[Shares], classes: Sequence[str] = "abc", **keys
    ) -> DataConfig:
        format = keys.setdefault("format", "folder")
        random = np.random.default_rng(0)
        for split, labels in zip(FORMATS[format].splits, (train, val), strict=True):
            for index, shares in enumerate(labels):
                label = np.full(SIZE * SIZE, next(iter(shares)), np.uint8)
                ends = np.cumsum([round(share * label.size) for share in shares.values()])
                for value, start, end in zip(shares, [0, *ends], ends, strict=False):
                    label[start:end] = value
                image = random.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
                for kind, suffix, pixels in (("images", ".jpg", image), ("annotations", ".png", label)):
                    file = tmp_path / "raw" / kind / split / f"{index}{suffix}"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_bytes(cv2.imencode(suffix, pixels.reshape(SIZE, SIZE, -1))[1].tobytes())
        return DataConfig(name="set", root=str(tmp_path / "raw"), classes=tuple(classes), **keys)

    return _write


def refusal(data: DataConfig, tmp_path: Path) -> str:
    with pytest.raises(DataError) as error:
        prepare(data, tmp_path / "refused", workers=1)
    assert not (tmp_path / "refused").exists()
    return str(error.value)


def warnings(data: DataConfig, tmp_path: Path) -> list[str]:
    return prepare(data, tmp_path / "out", workers=1)["warnings"]


ALL = {0: 0.5, 1: 0.3, 2: 0.2}


def test_statistics_count_pixels_images_and_void(write: Write, tmp_path: Path) -> None:
    data = write([ALL, {0: 0.75, 1: 0.15, 255: 0.1}], [ALL])
    manifest = prepare(data, tmp_path / "out", workers=1)
    train = manifest["statistics"]["train"]
    assert (train["num_images"], train["width"], train["height"]) == (2, [20, 20], [20, 20])
    assert (train["pixels"], train["void_pixels"], train["void_share"]) == (800, 40, 0.05)
    assert train["classes"]["a"] == {"pixels": 500, "share": round(500 / 760, 6), "images": 2}
    assert train["classes"]["c"]["images"] == 1
    assert sum(one["pixels"] for one in train["classes"].values()) == 760
    assert manifest["statistics"]["val"]["classes"]["b"]["pixels"] == 0.3 * SIZE**2
    assert manifest["warnings"] == []
    stored = read_statistics(tmp_path / "out")
    assert (stored.splits, stored.warnings) == (manifest["statistics"], ())


def test_statistics_do_not_depend_on_the_number_of_workers(write: Write, tmp_path: Path) -> None:
    data = write([ALL, {0: 0.2, 1: 0.2, 2: 0.1, 255: 0.5}] * 3, [{0: 0.9, 1: 0.1}] * 2)
    for workers in (1, 2):
        prepare(data, tmp_path / str(workers), workers=workers)
    one, two = ((tmp_path / str(workers) / MANIFEST).read_bytes() for workers in (1, 2))
    assert one == two and json.loads(one)["warnings"]


@pytest.mark.parametrize(
    ("train", "val", "classes", "sentences"),
    [
        ([{0: 0.6, 255: 0.4}], None, "ab", ["labels hold only 0 and 255", "values: {a: 0, b: 255}"]),
        ([{0: 0.98, 255: 0.02}], None, "ab", ["labels hold only 0 and 255", "values: {a: 0, b: 255}"]),
        ([{0: 0.6, 255: 0.4}], None, "a", ["only 0 and 255", "classes: [background, object]"]),
        ([{0: 0.6, 255: 0.4}], None, "abc", ["only 0 and 255", "classes: [background, object]"]),
        ([{0: 0.6, 1: 0.4}], [{0: 0.9, 255: 0.1}], "ab", ["labels of val hold only 0 and 255", "class 'b'"]),
        ([{1: 0.6, 255: 0.4}], None, "ab", ["only 1 and 255", "values: {a: 1, b: 255}"]),
        ([{0: 0.4, 1: 0.3, 255: 0.3}], None, "abc", ["only 0..1 and 255", "{a: 0, b: 1, c: 255}"]),
        ([{0: 0.5, 1: 0.3, 128: 0.2}], None, "abc", ["hold only 0..1 and 128", "{a: 0, b: 1, c: 128}"]),
        (
            [{0: 0.2, 1: 0.2, 2: 0.05, 255: 0.55}],
            [ALL],
            "abc",
            ["55.00 % of the pixels of train", "void_labels: [255]"],
        ),
        ([{1: 0.5, 2: 0.3, 3: 0.2}], None, "abc", ["1..3", "count from 1", "values: {a: 1, b: 2, c: 3}"]),
        (
            [{0: 0.4, 1: 0.3, 2: 0.2, 3: 0.1}],
            None,
            "abc",
            ["0..3", "Add the missing name", "void_labels: [0]"],
        ),
        ([{0: 0.6, 1: 0.4}], None, "abc", ["class 'c' has no pixel in train", "0..1", "absent_classes: [c]"]),
        ([{1: 0.6, 2: 0.4}], None, "abc", ["class 'a' has no pixel in train", "hold 1..2"]),
        ([{0: 0.6, 1: 0.4}], [ALL], "abc", ["'c' has no pixel in train, but pixels in val"]),
        ([{0: 1.0}], None, "abc", ["2 classes ('b', 'c') have no pixel", "absent_classes: [b, c]"]),
        ([ALL], [{255: 1.0}], "abc", ["no pixel of val is labelled", "(label value 255)"]),
        ([{255: 1.0}], [ALL], "abc", ["no pixel of train is labelled"]),
    ],
)
def test_refused_data_sets(
    write: Write, tmp_path: Path, train: list, val: list | None, classes: str, sentences: list[str]
) -> None:
    message = refusal(write(train, val or train, classes), tmp_path)
    assert all(sentence in message for sentence in sentences), message


def test_a_thin_border_of_255_is_void(write: Write, tmp_path: Path) -> None:
    assert warnings(write([{**ALL, 255: 0.06}], [{**ALL, 255: 0.04}]), tmp_path) == []


def test_much_void_is_accepted_where_it_is_listed(write: Write, tmp_path: Path) -> None:
    label = {0: 0.2, 1: 0.1, 2: 0.1, 255: 0.6}
    found = warnings(write([label], [label], void_labels=(255,)), tmp_path)
    assert len(found) == 2 and found[0].startswith(
        "60.00 % of the pixels of train are void (label value 255)"
    )


def test_frequent_255_that_is_not_listed_is_a_warning(write: Write, tmp_path: Path) -> None:
    (found,) = warnings(write([{0: 0.3, 1: 0.2, 2: 0.2, 255: 0.3}], [ALL]), tmp_path)
    assert "30.00 % of the pixels of train have the label value 255" in found


def test_masks_that_were_exported_in_two_ways(write: Write, tmp_path: Path) -> None:
    (found,) = warnings(write([{0: 0.9, 1: 0.1}, {0: 0.9, 255: 0.1}], [{0: 0.9, 1: 0.1}], "ab"), tmp_path)
    assert found.startswith("1 labels of train hold only 255 and one other value")


def test_255_may_be_a_class(write: Write, tmp_path: Path) -> None:
    labels = [{0: 0.3, 255: 0.7}]
    data = write(labels, labels, "ab", values=((0,), (255,)))
    manifest = prepare(data, tmp_path / "out", workers=1)
    assert manifest["warnings"] == []
    assert manifest["statistics"]["train"]["classes"]["b"]["pixels"] == 0.7 * SIZE**2


def test_labels_in_colours_are_counted(write: Write, tmp_path: Path) -> None:
    colours = (((0, 0, 0),), ((128, 128, 128),), ((255, 255, 255),))
    data = write([{0: 0.5, 128: 0.25, 255: 0.25}], [{0: 0.5, 128: 0.5}], colours=colours)
    manifest = prepare(data, tmp_path / "out", workers=1)
    pixels = {name: one["pixels"] for name, one in manifest["statistics"]["train"]["classes"].items()}
    assert pixels == {"a": 200, "b": 100, "c": 100}
    assert manifest["warnings"][0].startswith("class 'c' has no pixel in val")
    message = refusal(write([{0: 0.5, 128: 0.5}], [{0: 1.0}], colours=colours), tmp_path)
    assert "class 'c' has no pixel in train, so" in message and "hold" not in message


def test_absent_classes_are_accepted_by_name(write: Write, tmp_path: Path) -> None:
    two = [{0: 0.6, 1: 0.4}]
    assert warnings(write(two, two, absent_classes=("c",)), tmp_path) == []
    (found,) = warnings(write(two, [ALL], absent_classes=("c",)), tmp_path)
    assert "class 'c' has pixels in val but not in train" in found


def test_a_class_that_val_lacks_is_a_warning(write: Write, tmp_path: Path) -> None:
    (found,) = warnings(write([ALL], [{0: 0.6, 1: 0.4}]), tmp_path)
    assert found.startswith("class 'c' has no pixel in val: its mIoU leaves it out")


def test_a_single_class_is_a_warning(write: Write, tmp_path: Path) -> None:
    (found,) = warnings(write([{0: 1.0}], [{0: 1.0}], "a"), tmp_path)
    assert "class 'a' is the only one" in found


def test_a_partial_official_data_set_may_lack_classes(write: Write, tmp_path: Path) -> None:
    labels = [{1: 0.5, 2: 0.3, 3: 0.2}]  # the first three classes; 0 is void
    data = write(labels, labels, ("wall", "building", "sky", "floor"), format="ade20k", allow_partial=True)
    (found,) = warnings(data, tmp_path)
    assert found == "class 'floor' has no pixel in train, so no network can learn it."


def test_labels_of_an_official_format_that_were_renumbered(write: Write, tmp_path: Path) -> None:
    labels = [{0: 0.5, 1: 0.3, 255: 0.2}]
    data = write(labels, labels, ("wall", "building"), format="ade20k", allow_partial=True)
    assert "original ade20k labels do not" in refusal(data, tmp_path)


def test_an_image_in_two_splits_is_a_warning(write: Write, tmp_path: Path) -> None:
    data = write([ALL, ALL], [ALL])
    shutil.copy(tmp_path / "raw/images/train/1.jpg", tmp_path / "raw/images/val/0.jpg")
    (found,) = warnings(data, tmp_path)
    assert "1 image file is in two splits" in found and "train '1' is val '0'" in found


def test_a_damaged_file_hides_no_class(write: Write, tmp_path: Path) -> None:
    data = write([{0: 1.0}, ALL], [ALL])
    (tmp_path / "raw/images/train/1.jpg").write_bytes(b"no image")
    message = refusal(data, tmp_path)
    assert "1 problem." in message and "no pixel" not in message


def test_cityscapes_train_ids_in_place_of_label_ids() -> None:
    data = DataConfig(name="set", format="cityscapes", root=".", classes=("road", "car"), allow_partial=True)
    counts = {0: 50, 7: 30, 13: 20}
    for values, number in ((counts, 1), ({**counts, 26: 5}, 0)):
        split = SplitCounts()
        split.add(10, 10, values=values, train_ids={0: 30, 1: 5, 255: 70})
        found = find_mistakes(data, {"train": split, "val": split})[1]
        assert sum("they may be train ids" in warning for warning in found) == number
