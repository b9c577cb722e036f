"""What `regproxy predict` writes besides label maps of train ids."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saved_runs import VARIANT, make_run
from smoke_profile import SMOKE_VARIANTS

import regproxy
from regproxy.cli.main import main
from regproxy.config.class_tables import CITYSCAPES, CITYSCAPES_VALUES
from regproxy.drawing.legend import with_legend
from regproxy.errors import ConfigError
from regproxy.inference.outputs import server_ids


def predict(*arguments: object) -> int:
    return main(["predict", *map(str, arguments)])


def test_scales_and_confidence(run: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    photo, out = put("street.png"), tmp_path / "out"
    assert predict(run, photo, "--out", out, "--confidence", "--scales", 0.75, 1.5) == 0
    expected = regproxy.load(run, "cpu").predict(photo, scales=(0.75, 1.5))
    with Image.open(out / "street.png") as labels, Image.open(out / "street-confidence.png") as grey:
        np.testing.assert_array_equal(np.asarray(labels), expected.labels)
        assert grey.mode == "L"
        np.testing.assert_array_equal(np.asarray(grey), np.rint(255 * expected.confidence))


def test_a_scale_that_is_not_positive_is_refused(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(run, put("a.png"), "--out", tmp_path / "out", "--scales", 1, 0) == 1
    error = capsys.readouterr().err
    assert "expected more than 0" in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_cityscapes_ids_are_those_of_the_test_server(
    run: Path, put: Callable[..., Path], tmp_path: Path
) -> None:
    out, name = tmp_path / "out", "berlin_000000_000019_leftImg8bit.png"
    photo = put(f"berlin/{name}")
    assert predict(run, tmp_path / "berlin", "--out", out, "--save-ids", "cityscapes") == 0
    values = dict(zip(CITYSCAPES, CITYSCAPES_VALUES, strict=True))
    table = np.array([values[name] for name in VARIANT.data.classes])
    with Image.open(out / name) as labels:
        assert labels.mode == "L"
        ids = np.asarray(labels)
    np.testing.assert_array_equal(ids, table[regproxy.load(run, "cpu").predict(photo).labels])
    with (out / "classes.csv").open(newline="") as file:
        assert {row["class"]: int(row["id"]) for row in csv.DictReader(file)}["road"] == 7


def test_ids_of_ade20k_begin_at_1_and_other_classes_are_refused(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert server_ids(("wall", "building", "flag"), "ade20k").tolist() == [1, 2, 150]
    assert predict(run, put("a.png"), "--out", tmp_path / "out", "--save-ids", "ade20k") == 1
    error = capsys.readouterr().err
    assert "ids of ade20k cannot be saved: it lacks 1 of the model's 8 classes (vegetation)" in error
    assert len(error.splitlines()) == 1 and not (tmp_path / "out").exists()
    ade20k = make_run(tmp_path / "ade20k", SMOKE_VARIANTS["ade20k", "linear"])
    assert predict(ade20k, put("a.png"), "--out", tmp_path / "out", "--save-ids", "ade20k") == 0
    with pytest.raises(ConfigError, match="did you mean"):
        server_ids(("wall",), "ade20")


def test_the_legend_shows_the_classes_that_occur_with_their_colours() -> None:
    palette = np.array([(250, 10, 10), (10, 250, 10), (10, 10, 250)], np.uint8)
    labels = np.zeros((101, 151), np.int64)
    labels[:20] = 2
    for height in (101, 1001):
        large = labels.repeat(height // 101, axis=0)
        picture = Image.fromarray(np.full((*large.shape, 3), 128, np.uint8))
        pages = {
            key: with_legend(picture, ids, ("road", "sky", "car"), palette)
            for key, ids in (("two", large), ("one", large * 0))
        }
        sizes = {page.size for page in pages.values()}
        assert len(sizes) == 1 and all(side % 2 == 0 for size in sizes for side in size)  # frames of a video
        legends = {key: np.asarray(page)[:, picture.width :].reshape(-1, 3) for key, page in pages.items()}
        shown = {
            key: [bool((legend == colour).all(axis=1).any()) for colour in palette]
            for key, legend in legends.items()
        }
        assert shown == {"two": [True, False, True], "one": [True, False, False]}
        np.testing.assert_array_equal(np.asarray(pages["two"])[: large.shape[0], : large.shape[1]], 128)


def test_more_classes_than_lines_are_counted() -> None:
    classes, palette = tuple(f"class {number}" for number in range(60)), np.zeros((60, 3), np.uint8)
    labels = np.arange(60).repeat(40).reshape(40, 60)
    page = with_legend(Image.new("RGB", (60, 40)), labels, classes, palette)
    assert page.height > 40 and page.width > 200
