"""The qualitative pictures: their panels, the choice of images, and the captions."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from report_records import gather, write

from regproxy.config.dataset import IGNORE_LABEL
from regproxy.config.profile import Profile
from regproxy.drawing import panels, picture_grid
from regproxy.eval.image_confusions import SparseMatrix, pack
from regproxy.figures import predictions
from regproxy.figures.image_choice import Choice, choose_images, label_miou, spread


@pytest.mark.parametrize(("size", "count"), [((64, 64), 4), ((64, 128), 5), ((640, 480), 3), ((400, 900), 1)])
@pytest.mark.parametrize("classes", [0, 9, 150])
def test_a_grid_is_a_png_of_readable_size(
    tmp_path: Path, size: tuple[int, int], count: int, classes: int
) -> None:
    pixels = panels.fit(np.zeros((*size, 3), np.uint8), picture_grid.box_of(size))
    pairs = [picture_grid.Pair(f"RegProxy {index}", pixels, pixels) for index in range(count)]
    legend = [(f"class {index}", np.array([index, 0, 200], np.uint8)) for index in range(classes)]
    for name in ("a.png", "b.png"):
        picture_grid.draw_grid(pairs, legend, tmp_path / name)
    height, width, _ = cv2.imread(str(tmp_path / "a.png")).shape
    assert 400 < width <= 1700 and 200 < height <= 3000
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_void_is_dark_and_has_no_class_colour() -> None:
    label = np.array([[0, 1], [IGNORE_LABEL, 1]], np.uint8)
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    painted = panels.paint_label(label, colours)
    assert painted[:, 1].tolist() == [[0, 0, 255]] * 2
    assert painted[1, 0].max() <= 110


def test_errors_are_the_pixels_that_differ_from_the_label() -> None:
    image = np.full((1, 3, 3), 200, np.uint8)
    label, prediction = np.array([[0, 1, IGNORE_LABEL]]), np.array([[0, 0, 0]])
    right, wrong, void = panels.paint_errors(image, label, prediction)[0].tolist()
    assert wrong == panels.WRONG.tolist()
    assert len(set(right)) == 1 and right[0] < 128 and void == [128] * 3


def test_small_pictures_grow_in_whole_blocks() -> None:
    label = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert panels.fit(label, 11)[::3, ::3].tolist() == label.tolist()
    assert panels.fit(label, 11).shape == (6, 9)
    assert panels.fit(np.zeros((100, 300, 3), np.uint8), 60).shape == (20, 60, 3)


def test_images_are_spread_over_the_split() -> None:
    assert spread(64, 2) == [16, 48]
    assert spread(2, 5) == [0, 1]
    assert spread(500, 500) == list(range(500))
    assert spread(0, 2) == []


def test_the_largest_gains_and_losses_are_chosen_once() -> None:
    nan = float("nan")
    gains = np.array([0.1, -0.3, nan, 0.4, 0.0, 0.2, -0.1, 0.3, 0.0, nan])
    expected = [Choice(2, "spread"), Choice(3, "gain", 0), Choice(7, "gain", 1), Choice(5, "gain", 2)]
    expected += [Choice(1, "loss", 0), Choice(6, "loss", 1)]  # 2 and 7 are spread, 7 is also a gain
    assert choose_images(10, 2, gains) == expected
    assert [choice.superlative for choice in expected[2:]] == [
        "second largest gain",
        "third largest gain",
        "largest loss",
        "second largest loss",
    ]
    assert choose_images(10, 2) == [Choice(2, "spread"), Choice(7, "spread")]


def test_the_miou_of_an_image_is_over_the_classes_of_its_label() -> None:
    correct, labelled, predicted = np.array(
        [[[4, 0, 0], [0, 0, 0]], [[8, 2, 0], [0, 0, 0]], [[4, 1, 3], [0] * 3]]
    )
    mious = label_miou(correct, labelled, predicted)
    assert mious[0] == pytest.approx((4 / 8 + 0 / 3) / 2)
    assert np.isnan(mious[1])


def test_pictures_of_trained_runs_say_which_image_and_which_seed(
    trained: tuple[Profile, Path], tmp_path: Path
) -> None:
    profile, shards = trained
    arguments = {"data_dir": shards, "out": tmp_path}
    data = profile.datasets[0]
    (picture,) = predictions.draw_predictions(profile, gather(profile, tmp_path), data, **arguments)
    assert picture.path == f"{tmp_path.name}/prediction-ade20k-2.png"
    assert picture.caption.startswith("Validation image 2 of ADE20K layout (ADE_val_00000003), one of those")
    assert "linear baseline 0, RegProxy 4×4 0." in picture.caption
    assert cv2.imread(str(tmp_path / "prediction-ade20k-2.png")).shape[1] > 400

    shutil.rmtree(tmp_path / "runs/p/ade20k/linear")  # a result without its run
    (other,) = predictions.draw_predictions(profile, gather(profile, tmp_path), data, **arguments)
    assert "RegProxy 4×4 0." in other.caption and "linear" not in other.caption
    shutil.rmtree(tmp_path / "runs")
    assert predictions.draw_predictions(profile, gather(profile, tmp_path), data, **arguments) == []


def test_captions_name_the_images_of_the_largest_gain_and_loss(
    trained: tuple[Profile, Path], tmp_path: Path
) -> None:
    profile, shards = trained
    good, bad = np.diag([8] * 8), np.diag([4] * 8) + np.diag([4] * 7, 1) + np.diag([4], -7)
    for name, images in (("linear", (good, bad, good, good)), ("region-4x4", (bad, good, good, good))):
        text = pack([SparseMatrix.of(image) for image in images], 8)
        changes = {"confusion_per_image": text, "classes": list(profile.datasets[0].classes)}
        write(tmp_path, f"ade20k/{name}/0", 0.4, run=None, **changes)
    data = profile.datasets[0]
    pictures = predictions.draw_predictions(
        profile, gather(profile, tmp_path), data, data_dir=shards, out=tmp_path
    )
    assert [Path(picture.path).stem[-1] for picture in pictures] == ["2", "1", "0"]
    gain, loss = pictures[1].caption, pictures[2].caption
    assert (
        "image 1 of ADE20K layout (ADE_val_00000002), chosen for the largest gain of RegProxy 4×4 over"
        in gain
    )
    assert "chosen for the largest loss of RegProxy 4×4 against the linear baseline: mIoU" in loss
