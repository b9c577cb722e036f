"""What `save_pretrained` writes: a model that loads again, and a card that says what it is."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from saved_runs import VARIANT

import regproxy
from regproxy.errors import DataError
from regproxy.inference.trained_model import TrainedModel

SCORES = {
    "run_fingerprint": "f1",
    "split": "val",
    "num_images": 12,
    "miou": 0.56789,
    "multi_scale": {"miou": 0.6},
    "pixel_accuracy": 0.9,
    "iou_per_class": [0.1, None, *[0.5] * (len(VARIANT.data.classes) - 2)],
}


@pytest.fixture
def model(run: Path) -> TrainedModel:
    loaded = regproxy.load(run, "cpu")
    record = loaded.record | {
        "fingerprint": "f1",
        "profile": "smoke",
        "seed": 7,
        "versions": {"torch": "2.13"},
    }
    return TrainedModel(loaded.network, loaded.variant, record)


@pytest.fixture
def result(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a result record; keywords replace its values."""

    def write(**changes: Any) -> Path:
        (tmp_path / "result.json").write_text(json.dumps(SCORES | changes))
        return tmp_path / "result.json"

    return write


def card(folder: Path) -> tuple[dict[str, Any], str]:
    """Return the metadata and the text of the card in a folder."""
    _, metadata, text = (folder / "README.md").read_text().split("---\n", 2)
    return yaml.safe_load(metadata), text


def test_the_saved_model_loads_again(model: TrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    model.save_pretrained(tmp_path / "saved")  # replaces its own files
    loaded = TrainedModel.from_pretrained(tmp_path / "saved", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    assert np.array_equal(loaded.predict(image).confidence, model.predict(image).confidence)
    assert loaded.record == model.record


def test_the_card_has_metadata_scores_and_origin(
    model: TrainedModel, result: Callable[..., Path], tmp_path: Path
) -> None:
    model.save_pretrained(tmp_path / "saved", result=result(), license="mit")
    metadata, text = card(tmp_path / "saved")
    assert metadata["license"] == "mit" and metadata["library_name"] == "regproxy"
    assert metadata["pipeline_tag"] == "image-segmentation" and metadata["metrics"] == ["mean_iou"]
    (entry,) = metadata["model-index"][0]["results"]
    assert entry["metrics"][0] == {"type": "mean_iou", "name": "mIoU", "value": 56.79}
    parameters = sum(weight.numel() for weight in model.parameters())
    for row in (
        "mIoU | 56.79",
        "mIoU, several scales and flips | 60.00",
        "seed | 7",
        "software | torch 2.13",
    ):
        assert f"| {row} |" in text
    assert f"| parameters | {parameters:,} |" in text
    assert f"| {VARIANT.data.classes[0]} | 10.00 |" in text
    assert f"| {VARIANT.data.classes[1]} |" not in text  # a class absent from the images has no IoU
    assert ", ".join(VARIANT.data.classes) in text


def test_generated_scenes_are_not_called_cityscapes(model: TrainedModel, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path / "saved")
    assert card(tmp_path / "saved")[0]["datasets"] == ["smoke-cityscapes"]
    own = dataclasses.replace(VARIANT, data=dataclasses.replace(VARIANT.data, name="streets"))
    TrainedModel(model.network, own).save_pretrained(tmp_path / "own")
    metadata, text = card(tmp_path / "own")
    assert metadata["datasets"] == ["streets"] and metadata["license"] == "other"
    assert "None recorded." in text and "model-index" not in metadata


def test_scores_of_another_run_are_refused(
    model: TrainedModel, result: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="holds the scores of another run"):
        model.save_pretrained(tmp_path / "saved", result=result(run_fingerprint="f2"))
    with pytest.raises(DataError, match=r"none.json is missing or no result record"):
        model.save_pretrained(tmp_path / "saved", result=tmp_path / "none.json")
    assert not (tmp_path / "saved").exists()


def test_a_readme_of_the_user_stays(model: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(DataError, match=r"README.md would be overwritten. Give the model"):
        model.save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"
    assert not (tmp_path / "model.safetensors").exists()
