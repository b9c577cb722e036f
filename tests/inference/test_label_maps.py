"""`regproxy predict`: a trained model on a user's own images."""

import csv
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saved_runs import VARIANT, make_run

from regproxy.cli.main import main
from regproxy.config.variant import Variant
from regproxy.data.labels import palette
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.runs.saved_model import load_model


def settings(variant: Variant = VARIANT) -> dict:
    return {
        "evaluation": variant.evaluation,
        "mean": variant.recipe.image_mean,
        "std": variant.recipe.image_std,
    }


def test_label_maps_hold_ids_and_show_colours(run: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    photo, out = put("street.png"), tmp_path / "out"
    assert main(["predict", str(run), str(photo), "--out", str(out)]) == 0
    with Image.open(out / "street.png") as labels:
        ids, shown = np.asarray(labels), np.asarray(labels.convert("RGB"))
    with Image.open(photo) as picture:
        expected = predict(load_model(run), np.asarray(picture), **settings())
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(ids, expected)
    np.testing.assert_array_equal(shown, palette(VARIANT.data)[expected])
    with (out / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["class"]) for row in rows] == [
        (str(number), name) for number, name in enumerate(VARIANT.data.classes)
    ]
    assert rows[0]["colour"] == "#" + bytes(palette(VARIANT.data)[0]).hex()
    assert sorted(path.name for path in out.iterdir()) == ["classes.csv", "street.png"]


def test_folders_keep_their_shape_and_kinds_of_images_are_read(
    run: Path, put: Callable[..., Path], tmp_path: Path
) -> None:
    put("photos/grey.png", mode="L")
    put("photos/a/palette.png", mode="P")
    put("photos/a/b/alpha.png", mode="RGBA", size=(33, 17))
    put("photos/.hidden.png")
    photos, out = tmp_path / "photos", tmp_path / "photos" / "out"
    for _ in range(2):  # the second run must not read the output of the first
        assert main(["predict", str(run), str(photos), "--out", str(out), "--overlay"]) == 0
        names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
        assert names == {"classes.csv"} | {
            f"{name}{end}" for name in ("grey", "a/palette", "a/b/alpha") for end in (".png", "-overlay.jpg")
        }
    with Image.open(out / "a/b/alpha.png") as labels, Image.open(out / "a/b/alpha-overlay.jpg") as mixed:
        assert labels.size == (17, 33) and mixed.size > (17, 33)  # with a legend


def test_multi_scale_averages_or_is_refused(
    put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ratios = {False: (), True: (0.75, 1.5)}
    variants = {
        has: dataclasses.replace(
            VARIANT, evaluation=dataclasses.replace(VARIANT.evaluation, multi_scale_ratios=ratios[has])
        )
        for has in ratios
    }
    runs = {has: make_run(tmp_path / f"run-{has}", variant) for has, variant in variants.items()}
    photo, out = put("street.png"), tmp_path / "out"
    arguments = [str(photo), "--out", str(out), "--scales"]
    assert main(["predict", str(runs[False]), *arguments]) == 1
    assert "no multi_scale_ratios" in capsys.readouterr().err and not out.exists()
    assert main(["predict", str(runs[True]), *arguments]) == 0
    with Image.open(out / "street.png") as labels, Image.open(photo) as picture:
        expected = predict_multi_scale(
            load_model(runs[True]), np.asarray(picture), **settings(variants[True])
        )
        np.testing.assert_array_equal(np.asarray(labels), expected)


def test_photos_of_a_turned_camera_are_labelled_upright(
    run: Path, turned: np.ndarray, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    assert main(["predict", str(run), str(tmp_path / "turned.jpg"), "--out", str(out)]) == 0
    with Image.open(out / "turned.png") as labels:
        assert labels.size == (40, 60)
        np.testing.assert_array_equal(np.asarray(labels), predict(load_model(run), turned, **settings()))


def test_an_image_of_one_row_is_an_image(run: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["predict", str(run), str(put("line.png", size=(1, 3000))), "--out", str(out)]) == 0
    with Image.open(out / "line.png") as labels:
        assert labels.size == (3000, 1)


def test_linked_folders_are_read_and_hidden_ones_are_not(
    run: Path, put: Callable[..., Path], tmp_path: Path
) -> None:
    put("photos/a.png")
    put("photos/.cache/b.png")
    put("elsewhere/c.png")
    (tmp_path / "photos/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos/cycle").symlink_to(tmp_path / "photos")
    out = tmp_path / "out"
    assert main(["predict", str(run), str(tmp_path / "photos"), "--out", str(out)]) == 0
    names = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert names == {"a.png", "link/c.png", "classes.csv"}


def test_files_of_other_formats_are_named(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("photos/a.png", "photos/b.gif", "photos/below/c.ppm"):
        put(name)
    assert main(["predict", str(run), str(tmp_path / "photos"), "--out", str(tmp_path / "out")]) == 0
    error = capsys.readouterr().err
    assert "skipped 2 files" in error and "b.gif" in error and "c.ppm" in error


def test_out_may_lie_above_its_images(
    run: Path, put: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("work/photos/a.jpg")
    monkeypatch.chdir(tmp_path / "work")
    for _ in range(2):
        assert main(["predict", str(run), "photos", "--out", "."]) == 0
    names = {path.as_posix() for path in Path().rglob("*") if path.is_file()}
    assert names == {"a.png", "classes.csv", "photos/a.jpg"}
