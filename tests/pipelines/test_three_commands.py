"""The three commands of docs/own-data.md, on a small data set of the same layout as CamVid."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from project_copy import copy_project, environment

pytestmark = pytest.mark.integration
PAGE = Path(__file__).parents[2] / "docs/own-data.md"
NUM_CLASSES, VOID = 11, 11
NUM_IMAGES = {"train": 6, "val": 3, "test": 2}


def write_camvid(root: Path) -> None:
    """Write noisy stripes of every class, and a void border, in the layout of CamVid."""
    generator = np.random.default_rng(0)
    for split, number in NUM_IMAGES.items():
        for kind in ("images", "annotations"):
            (root / kind / split).mkdir(parents=True)
        for index in range(number):
            label = np.repeat(np.arange(NUM_CLASSES, dtype=np.uint8), 9)[:, None].repeat(128, axis=1)
            label[:2] = VOID
            image = (label[:, :, None] * 20 + generator.integers(0, 30, (*label.shape, 3))).astype(np.uint8)
            Image.fromarray(image).save(root / f"images/{split}/{index}.jpg")
            Image.fromarray(label).save(root / f"annotations/{split}/{index}.png")


def test_the_three_commands_train_a_model(tmp_path: Path) -> None:
    project = copy_project(tmp_path, "demo")
    write_camvid(project / "data/camvid")
    write_camvid(project / "photos")
    block = re.search(r"```\n(regproxy new .*?)```", PAGE.read_text(), flags=re.S)[1]
    new, repro, predict = block.replace("\\\n", "").splitlines()
    new += " --pretrain none --steps 8"  # random weights: the test runs without a network, in little time
    for command in (new, repro, predict):
        command = (
            command.replace("regproxy", "python -m regproxy.cli", 1) if "regproxy" in command else command
        )
        result = subprocess.run(
            command, shell=True, cwd=project, env=environment(project), capture_output=True, text=True
        )
        assert result.returncode == 0, f"{command}: {result.stdout}{result.stderr}"
    assert (project / "reports/street/report.html").is_file()
    labels = sorted(path.relative_to(project / "labels") for path in (project / "labels").rglob("*.png"))
    photos = sorted((project / "photos").rglob("*.jpg")) + sorted((project / "photos").rglob("*.png"))
    assert len(labels) == len(photos)
