"""Generated scenes: real layouts, equal bytes, every class, and through the real preparer."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines import demo_data, prepare
from regproxy.config.dataset import DataConfig
from regproxy.config.formats import resolve_classes
from regproxy.data import prepare as convert
from regproxy.data.shards import Shards
from regproxy.demo.layouts import DEMO_CLASSES, draw_sample, write_demo
from regproxy.errors import ConfigError

SIZES = {"num_train": 11, "num_val": 3, "seed": 0, "height": 48}


def config(format: str, root: Path) -> DataConfig:
    classes = resolve_classes(format, DEMO_CLASSES[format], "here")
    return DataConfig(name="demo", format=format, root=str(root), classes=classes, allow_partial=True)


def content(root: Path) -> dict[str, bytes]:
    return {
        file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()
    }


@pytest.mark.parametrize("format", DEMO_CLASSES)
def test_round_trip(tmp_path: Path, format: str) -> None:
    write_demo(tmp_path / "raw", format=format, **SIZES)
    convert.prepare(config(format, tmp_path / "raw"), tmp_path / "out", workers=1)
    train, val = (Shards(tmp_path / "out", split) for split in ("train", "val"))
    assert (len(train), len(val), train.classes) == (11, 3, DEMO_CLASSES[format])
    present = set()
    for index in range(11):
        record = train.read(index)
        present |= set(np.unique(cv2.imdecode(np.frombuffer(record.label, np.uint8), -1)).tolist())
        assert record.height == 48
        assert record.width == 96 if format == "cityscapes" else 48 <= record.width <= 68
    assert present == {*range(8), 255}


def test_layouts(tmp_path: Path) -> None:
    write_demo(tmp_path / "ade", format="ade20k", **SIZES)
    write_demo(tmp_path / "city", format="cityscapes", **SIZES)
    ade, city = content(tmp_path / "ade"), content(tmp_path / "city")
    assert {"images/training/ADE_train_00000001.jpg", "annotations/validation/ADE_val_00000003.png"} <= set(
        ade
    )
    assert "leftImg8bit/train/demoville/demoville_000001_000019_leftImg8bit.png" in city
    assert "gtFine/val/demoburg/demoburg_000002_000019_gtFine_labelIds.png" in city
    grey = [
        name
        for name, encoded in ade.items()
        if name.endswith(".jpg") and cv2.imdecode(np.frombuffer(encoded, np.uint8), -1).ndim == 2
    ]
    assert grey == ["images/training/ADE_train_00000011.jpg"]
    labels = [np.unique(cv2.imdecode(np.frombuffer(city[n], np.uint8), -1)) for n in city if "gtFine" in n]
    assert set(np.concatenate(labels).tolist()) == {1, 4, 7, 8, 11, 17, 21, 23, 24, 26}


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    sizes = SIZES | {"num_train": 2, "num_val": 1}
    write_demo(tmp_path / "one", format="ade20k", **sizes)
    write_demo(tmp_path / "two", format="ade20k", **sizes)
    write_demo(tmp_path / "two", format="ade20k", **sizes)
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_every_sample_is_its_own() -> None:
    base = {"seed": 0, "split": "train", "index": 0, "height": 40}
    changes = ({}, {"seed": 1}, {"split": "val"}, {"index": 1})
    images = {draw_sample("ade20k", **base | change)[0].tobytes() for change in changes}
    assert len(images) == 4


@pytest.mark.parametrize("change", [{"num_val": 0}, {"height": 8}, {"format": "ade"}])
def test_refused(tmp_path: Path, change: dict) -> None:
    with pytest.raises(ConfigError):
        write_demo(tmp_path / "raw", **{"format": "ade20k"} | SIZES | change)
    assert not list(tmp_path.iterdir())


PROFILE = """
seeds: [0]
{demo}
architectures: {{A: {{backbone: {{timm_name: vit_tiny_patch16_384}}}}}}
datasets:
  city: {{format: cityscapes, root: {root}, classes: [road, sky], allow_partial: true}}
recipe: {{steps: 1, crop: [32, 32], scale: [64, 32]}}
evaluation: {{scale: [64, 32], window: [32, 32], stride: [32, 32]}}
variants: {{linear: {{arch: A, head: linear}}}}
"""


def test_stages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(tmp_path)
    profiles = tmp_path / "pipelines/profiles"
    profiles.mkdir(parents=True)
    demo = "demo: {num_train: 3, num_val: 1, height: 32}"
    (profiles / "drawn.yaml").write_text(PROFILE.format(demo=demo, root="data/demo/drawn/city"))
    (profiles / "own.yaml").write_text(PROFILE.format(demo="", root="elsewhere"))
    assert demo_data.main(["drawn"]) == prepare.main(["drawn"]) == 0
    assert "4 pairs in" in capsys.readouterr().out
    assert len(Shards("data/prepared/drawn/city", "train")) == 3
    assert demo_data.main(["own"]) == 0
    assert "uses its own data" in capsys.readouterr().out
    assert (tmp_path / "data/demo/own").is_dir()
    assert prepare.main(["own"]) == 1
    assert "root elsewhere is missing" in capsys.readouterr().err
    assert not (tmp_path / "data/prepared/own").exists() or not list(
        (tmp_path / "data/prepared/own").iterdir()
    )
