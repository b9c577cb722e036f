"""The report's pictures of learned regions."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from report_records import gather, write

from regproxy.config.profile import Profile
from regproxy.drawing import regions as drawing
from regproxy.figures.regions import region_figures


def test_lines_lie_where_regions_meet_and_are_visible_on_any_ground() -> None:
    ids = np.zeros((9, 12), np.int64)
    ids[:, 6:] = 7
    for ground in (0, 255):
        pixels = np.full((9, 12, 3), ground, np.uint8)
        drawn = drawing.border_lines(pixels, ids, token_px=16)
        changed = (drawn != pixels).any(axis=2)
        assert (drawn[:, 5] == (255, 225, 0)).all() and (changed[:, 5]).all()
        assert not changed[:, :4].any() and not changed[:, 7:].any()
        assert (drawn[:, (4, 6)] == int(0.6 * ground)).all()
    wide = drawing.border_lines(np.zeros((9, 12, 3), np.uint8), ids, token_px=72)
    assert (wide == (255, 225, 0)).all(axis=2).sum() == 3 * 9


def test_mean_colours() -> None:
    pixels = np.array([[[0, 10, 20], [100, 30, 21], [7, 8, 9]]], np.uint8)
    assert drawing.mean_colours(pixels, np.array([[3, 3, 1]])).tolist() == [
        [[50, 20, 20], [50, 20, 20], [7, 8, 9]]
    ]


def test_heat_is_the_colour_map_over_the_darkened_image() -> None:
    pixels = np.full((1, 3, 3), 200, np.uint8)
    none, half, certain = drawing.heat_colours(pixels, np.array([[0.0, 0.5, 1.0]]))[0].astype(int)
    assert np.ptp(none) <= 4 and 90 < none.mean() < 130  # inferno begins with (0, 0, 4)
    assert certain.tolist() == [252, 255, 164]
    assert (half > np.array([188, 55, 84])).all()


def panel(side: int, number: int) -> drawing.TokenPanel:
    pixels = np.full((side, side, 3), 120, np.uint8)
    heat = np.linspace(0, 1, side * side).reshape(side, side)
    return drawing.TokenPanel(
        f"{number} pole $\\frac{{$", "region: 50%\n3×3 cells: 20%", pixels, heat, (8, 8, 16, 16)
    )


@pytest.mark.parametrize("count", [1, 8])
def test_token_panels_are_a_reproducible_png(tmp_path: Path, count: int) -> None:
    panels = [panel(40, number) for number in range(count)]
    for name in ("a.png", "b.png"):
        drawing.draw_tokens(panels, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    height, width, _ = cv2.imread(str(tmp_path / "a.png")).shape
    assert 300 < width <= 2100 and 400 < height < 700


def test_a_heat_picture_has_the_images_size_and_white_cells(tmp_path: Path) -> None:
    pixels, heat = np.zeros((300, 421, 3), np.uint8), np.zeros((300, 421), np.float32)
    tokens = [("1 pole $\\frac{$", (100.0, 40.0, 160.0, 100.0)), ("2 car", (240.0, 360.0, 300.0, 420.0))]
    drawing.draw_heat(pixels, heat, tokens, tmp_path / "heat.png")
    drawn = cv2.imread(str(tmp_path / "heat.png"))
    assert drawn.shape == (300, 421, 3)
    assert (drawn[110:150, 39:42].max(axis=1) > 200).all() and (drawn[110:150, 60] < 50).all()


@pytest.fixture
def trained(make_trial, tmp_path: Path) -> tuple[Path, Path]:
    """A scored run with random weights, and the folder of its prepared data."""
    import torch

    from regproxy.model.build import build
    from regproxy.runs.saved_model import save_model

    trial = make_trial()
    write(tmp_path, "ade20k/region-4x4/2", 0.4)
    write(tmp_path, "ade20k/linear/0", 0.9)
    run_dir = tmp_path / "runs/p/ade20k/region-4x4/2"
    torch.manual_seed(0)
    save_model(build(trial.variant), run_dir)
    record = json.loads((run_dir / "run.json").read_text()) | {"variant": trial.variant.to_dict()}
    (run_dir / "run.json").write_text(json.dumps(record))
    return run_dir, Path(trial.workspace.data_dir)


def test_two_pictures_with_captions(trained: tuple[Path, Path], profile: Profile, tmp_path: Path) -> None:
    run_dir, data_dir = trained
    data, out = profile.datasets[0], tmp_path / "figures"
    out.mkdir()

    def draw() -> list[bytes]:
        pictures = region_figures(profile, gather(profile, tmp_path), data, data_dir=data_dir, out=out)
        captions.extend(picture.caption for picture in pictures)
        return [(tmp_path / picture.path).read_bytes() for picture in pictures]

    captions: list[str] = []
    assert draw() == draw()
    assert sorted(path.name for path in out.iterdir()) == ["region-map-ade20k.png", "regions-ade20k.png"]
    assert "RegProxy 4×4, seed 2, on ADE20K layout" in captions[0] and "White: the cell" in captions[0]
    assert any(f"1 {name} (image " in captions[0] for name in data.classes)
    assert "All learned regions of validation image" in captions[1]
    shutil.rmtree(run_dir)
    assert draw() == []


def test_no_picture_without_a_region_proxy(
    trained: tuple[Path, Path], profile: Profile, tmp_path: Path
) -> None:
    data = profile.datasets[0]
    for variants in (None, ("linear",)):
        pictures = variants and dataclasses.replace(profile.pictures, variants=variants, main="")
        changed = dataclasses.replace(profile, pictures=pictures)
        scores = gather(profile, tmp_path)
        assert region_figures(changed, scores, data, data_dir=trained[1], out=tmp_path) == []
    assert not list(tmp_path.glob("*.png"))
