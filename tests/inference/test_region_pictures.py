"""`regproxy regions`: pictures of the regions of a user's own images."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from saved_runs import VARIANT, make_run
from smoke_profile import SMOKE_VARIANTS

from regproxy.cli.main import main
from regproxy.drawing.regions import border_lines
from regproxy.eval.image_regions import ImageRegions, image_regions
from regproxy.inference import region_pictures
from regproxy.runs.saved_model import load_model

ENDINGS = ("borders.png", "heat.png", "regions.png", "tokens.csv")


def regions_of(run: Path, image: np.ndarray) -> ImageRegions:
    statistics = {"mean": VARIANT.recipe.image_mean, "std": VARIANT.recipe.image_std}
    return image_regions(load_model(run), image, evaluation=VARIANT.evaluation, **statistics)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_four_files_for_each_image(run: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    photo, out = put("photos/street.png", size=(100, 150)), tmp_path / "out"
    arguments = ["regions", str(run), str(photo.parent), "--out", str(out), "--tokens", "1,2", "3,4"]
    for _ in range(2):  # the second run replaces the files of the first
        assert main([*arguments, "--tokens", "0,0"]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["classes.csv", *(f"street-{ending}" for ending in ENDINGS)]
    with Image.open(photo) as picture:
        image = np.asarray(picture)
    regions = regions_of(run, image)
    expected = regions.pixel_ids((100, 150))
    with Image.open(out / "street-regions.png") as picture:
        ids = np.asarray(picture)
        assert picture.mode == "I;16" and picture.size == (150, 100)
    np.testing.assert_array_equal(ids, expected)
    with Image.open(out / "street-borders.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), border_lines(image, expected, 100 / 64 * 16))
    with Image.open(out / "street-heat.png") as picture:
        assert picture.size == (150 * 8, 100 * 8)
    rows = table(out / "street-tokens.csv")
    assert {row["number"]: (row["row"], row["column"]) for row in rows if row["number"]} == {
        "1": ("1", "2"),
        "2": ("3", "4"),
        "3": ("0", "0"),
    }
    assert sum(float(row["share"]) for row in rows) == pytest.approx(1, abs=1e-4)
    assert {int(row["id"]) for row in rows if float(row["share"]) > 0} == set(np.unique(ids).tolist())
    row = next(row for row in rows if (row["row"], row["column"]) == ("1", "2"))
    assert int(row["id"]) == regions.grid[1] + 2
    assert float(row["y"]) == pytest.approx(1.5 * 16 * 100 / 64, abs=0.1)
    assert float(row["x"]) == pytest.approx(2.5 * 16 * 150 / 96, abs=0.1)
    assert row["class"] == VARIANT.data.classes[regions.classes[1, 2]]
    assert float(row["entropy"]) == pytest.approx(regions.entropy[1, 2], abs=1e-4)
    assert float(row["share"]) == pytest.approx((ids == regions.grid[1] + 2).mean(), abs=1e-6)


def test_tokens_are_chosen_without_a_label(
    put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Networks without regions have cells; a small or narrow image has few tokens."""
    for name, variant in (("regproxy", VARIANT), ("linear", SMOKE_VARIANTS["cityscapes", "linear"])):
        run, out = make_run(tmp_path / name, variant), tmp_path / f"out-{name}"
        images = [put("a.png", size=(90, 130)), put("line.png", size=(1, 300)), put("dot.png", size=(1, 1))]
        assert main(["regions", str(run), *map(str, images), "--out", str(out)]) == 0
        assert "pictures of regions are in" in capsys.readouterr().out
        for image in images:
            numbers = [row["number"] for row in table(out / f"{image.stem}-tokens.csv") if row["number"]]
            assert sorted(numbers) == [str(number + 1) for number in range(len(numbers))]
        assert any(row["number"] for row in table(out / "a-tokens.csv"))


def test_photos_of_a_turned_camera_are_drawn_upright(run: Path, turned: np.ndarray, tmp_path: Path) -> None:
    assert main(["regions", str(run), str(tmp_path / "turned.jpg"), "--out", str(tmp_path / "out")]) == 0
    with Image.open(tmp_path / "out/turned-regions.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), regions_of(run, turned).pixel_ids((60, 40)))


@pytest.mark.parametrize("token", ["1;2", "1", "1,2,3", "a,b", "4,0", "0,6", "99999999999,0", ""])
def test_a_token_outside_the_grid_is_refused(
    run: Path, put: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], token: str
) -> None:
    photo, out = put("street.png", size=(100, 150)), tmp_path / "out"
    assert main(["regions", str(run), str(photo), "--out", str(out), "--tokens", token]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {photo}: token {token!r} is invalid: the image has 4 x 6 tokens")
    assert len(error.splitlines()) == 1 and [path.name for path in out.iterdir()] == ["classes.csv"]


def test_more_tokens_than_ids_are_refused(
    run: Path,
    put: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(region_pictures, "_MAX_TOKENS", 23)
    large, small = put("large.png", size=(100, 150)), put("small.png", size=(64, 64))
    assert main(["regions", str(run), str(large), str(small), "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert f"error: {large}: its 4 x 6 tokens are too many" in error and len(error.splitlines()) == 1
    assert (tmp_path / "out/small-heat.png").exists() and not (tmp_path / "out/large-heat.png").exists()


@pytest.mark.parametrize(
    ("images", "out", "message"),
    [
        (["one/a.png", "two/a.png"], "out", "would both be"),
        (["one/a-heat.png", "one/a.png"], "one", "a-heat.png would be overwritten"),
        (["two/a.png"], "one", "a-heat.png exists and is no output of regproxy"),
        (["two/a.png"], "one/a.png", "a.png is a file. Choose a folder for the pictures"),
    ],
)
def test_files_of_the_user_are_kept(
    run: Path,
    put: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    images: list[str],
    out: str,
    message: str,
) -> None:
    names = ("one/a.png", "two/a.png", "one/a-heat.png")
    before = [put(name).read_bytes() for name in names]
    assert (
        main(["regions", str(run), *(str(tmp_path / name) for name in images), "--out", str(tmp_path / out)])
        == 1
    )
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and len(error.splitlines()) == 1
    assert before == [(tmp_path / name).read_bytes() for name in names]
    assert not (tmp_path / "out").exists()
