"""The library's way to a prediction: load a run, predict an image, look at the result."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from saved_runs import VARIANT

import regproxy
from regproxy.errors import DataError
from regproxy.eval.sliding import predict, predict_multi_scale
from regproxy.runs.saved_model import load_model

SETTINGS = {
    "evaluation": VARIANT.evaluation,
    "mean": VARIANT.recipe.image_mean,
    "std": VARIANT.recipe.image_std,
}


def test_a_path_a_picture_and_an_array_give_the_labels_of_the_evaluation(
    run: Path, put: Callable[..., Path]
) -> None:
    model, path = regproxy.load(run, "cpu"), put("photo.png")
    pixels = np.asarray(Image.open(path))
    expected = predict(load_model(run), pixels, **SETTINGS)
    for result in model.predict([path, Image.open(path), pixels]):
        assert np.array_equal(result.labels, expected)
    assert model.predict(str(path)).classes == VARIANT.data.classes


def test_confidence_is_the_softmax_of_the_averaged_logits(run: Path, put: Callable[..., Path]) -> None:
    model = regproxy.load(run, "cpu")
    pixels = np.asarray(
        Image.open(put("square.png", size=(64, 64)))
    )  # one window at the scale of the evaluation
    result = model.predict(pixels)
    images = torch.from_numpy(pixels).permute(2, 0, 1)[None].float()
    mean, std = (torch.tensor(SETTINGS[name])[:, None, None] for name in ("mean", "std"))
    with torch.inference_mode():
        logits = torch.nn.functional.interpolate(model((images - mean) / std), (64, 64), mode="bilinear")
    best, labels = logits.softmax(dim=1)[0].max(dim=0)
    assert np.array_equal(result.labels, labels.numpy())
    np.testing.assert_allclose(result.confidence, best.numpy(), atol=1e-5)


def test_scales_average_as_the_evaluation_does(run: Path, put: Callable[..., Path]) -> None:
    model, pixels = regproxy.load(run, "cpu"), np.asarray(Image.open(put("photo.png")))
    result = model.predict(pixels, scales=VARIANT.evaluation.multi_scale_ratios)
    assert np.array_equal(result.labels, predict_multi_scale(load_model(run), pixels, **SETTINGS))
    assert ((result.confidence > 0) & (result.confidence <= 1)).all()


def test_regions_and_overlay(run: Path, put: Callable[..., Path]) -> None:
    result = regproxy.load(run, "cpu").predict(put("photo.png"))
    assert result.regions.pixel_ids(result.labels.shape).shape == result.labels.shape
    full = np.asarray(result.overlay(strength=1.0))
    assert np.array_equal(full, result.palette[result.labels])


def test_an_image_that_cannot_be_used_is_refused(run: Path, tmp_path: Path) -> None:
    model = regproxy.load(run, "cpu")
    for image, message in (
        (np.zeros((4, 4, 3)), r"expected pixels .* got \(4, 4, 3\) of float64"),
        (np.zeros((4, 4)), r"got \(4, 4\) of float64"),
        (np.zeros((4, 4, 4), np.uint8), r"got \(4, 4, 4\) of uint8"),
        (np.zeros((0, 4, 3), np.uint8), r"got \(0, 4, 3\) of uint8"),
        (Image.fromarray(np.full((4, 4), 40_000, np.uint16)), "got Pillow's mode I;16"),
        (tmp_path, "is not a file. Give the path of an image"),
        (tmp_path / "none.png", "is missing"),
    ):
        with pytest.raises(DataError, match=message):
            model.predict(image)
    grey = np.zeros((4, 6), np.uint8)
    assert model.predict(grey).labels.shape == (4, 6)
