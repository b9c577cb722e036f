"""Fixtures of the command line tests: a run folder, and images of noise."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from saved_runs import make_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


@pytest.fixture
def put(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an image of noise in any of Pillow's modes."""

    def write(name: str, *, mode: str = "RGB", size: tuple[int, int] = (50, 70)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(name)).integers(0, 256, (*size, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def turned(put: Callable[..., Path], tmp_path: Path) -> np.ndarray:
    """Write `turned.jpg`, whose EXIF orientation turns it by 90 degrees; return it upright, (60, 40, 3)."""
    with Image.open(put("flat.png", size=(40, 60))) as picture:
        exif = Image.Exif()
        exif[0x0112] = 6
        picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "turned.jpg") as picture:
        return np.asarray(ImageOps.exif_transpose(picture))
