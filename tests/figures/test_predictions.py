"""The report's pictures."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from report_records import gather, write

from regproxy.config.profile import Profile
from regproxy.config.variant import IGNORE_LABEL
from regproxy.figures import drawing
from regproxy.figures import predictions as figures


@pytest.mark.parametrize(("size", "count"), [((64, 64), 4), ((64, 128), 4), ((360, 480), 3), ((32, 40), 1)])
def test_panels_are_a_png_of_readable_size(tmp_path: Path, size: tuple[int, int], count: int) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    panels = [drawing.Panel(f"panel {index}", pixels) for index in range(count)]
    legend = [(f"class {index}", np.array([20 * index, 0, 200], np.uint8)) for index in range(10)]
    for name in ("a.png", "b.png"):
        drawing.draw_panels(panels, legend, tmp_path / name)
    height, width, _ = cv2.imread(str(tmp_path / "a.png")).shape
    assert 400 < width <= 2000 and 200 < height <= 2000
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_void_is_dark_and_has_no_class_colour(tmp_path: Path) -> None:
    label = np.array([[0, 1], [IGNORE_LABEL, 1]], np.uint8)
    colours = np.array([[255, 0, 0], [0, 0, 255]], np.uint8)
    painted = drawing.paint_label(label, colours)
    assert painted[:, 1].tolist() == [[0, 0, 255]] * 2
    assert painted[1, 0].max() <= 110


def test_images_are_spread_over_the_split() -> None:
    assert figures.spread(64, 2) == [16, 48]
    assert figures.spread(2, 5) == [0, 1]
    assert figures.spread(500, 500) == list(range(500))
    assert figures.spread(0, 2) == []


def test_predictions_of_a_trained_run(make_trial, profile: Profile, tmp_path: Path) -> None:
    """A network with random weights and real shards give one picture per requested image."""
    from regproxy.model.build import build
    from regproxy.runs.saved_model import save_model

    trial = make_trial()
    write(tmp_path, "ade20k/region-4x4/0", 0.4)
    run_dir = tmp_path / "runs/p/ade20k/region-4x4/0"
    save_model(build(trial.variant), run_dir)
    record = json.loads((run_dir / "run.json").read_text()) | {"variant": trial.variant.to_dict()}
    (run_dir / "run.json").write_text(json.dumps(record))
    data_dir = Path(trial.workspace.data_dir)
    pictures = figures.predictions(
        profile, gather(profile, tmp_path), trial.variant.data, data_dir=data_dir, out=tmp_path
    )
    assert [picture.path for picture in pictures] == [f"{tmp_path.name}/ade20k-1.png"]
    assert cv2.imread(str(tmp_path / "ade20k-1.png")).shape[1] > 400

    shutil.rmtree(run_dir)  # a result without its run
    assert (
        figures.predictions(
            profile, gather(profile, tmp_path), trial.variant.data, data_dir=data_dir, out=tmp_path
        )
        == []
    )
