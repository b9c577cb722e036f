"""The images of the region explorer: what the page gets is what the networks compute."""

import base64
import dataclasses
import zlib
from pathlib import Path

import cv2
import numpy as np
import torch
from report_records import gather

from regproxy.config.profile import Profile
from regproxy.data.loader import normalise
from regproxy.data.shards import Shards
from regproxy.eval.score import read_pair
from regproxy.figures.explorer import explorer_image, explorer_images
from regproxy.report.layout import ExplorerNetwork
from regproxy.runs.saved_model import load_model


def unpack(network: ExplorerNetwork, rows: int, columns: int) -> np.ndarray:
    """Return the affinity of a network of the explorer as float (9, h, w, H, W)."""
    values = np.frombuffer(zlib.decompress(base64.b64decode(network.affinity)), np.uint8)
    return values.reshape(rows, columns, *network.region, 9).transpose(4, 2, 3, 0, 1) / 255


def test_the_explorer_has_the_numbers_of_the_model(trained: tuple[Profile, Path], tmp_path: Path) -> None:
    profile, data_dir = trained
    data = profile.datasets[0]
    (image,) = explorer_images(profile, gather(profile, tmp_path), data, data_dir=data_dir)
    assert [network.label for network in image.networks] == ["linear baseline", "RegProxy 4×4"]
    assert image.selected == "RegProxy 4×4" and image.classes == data.classes
    shards = Shards(data_dir, "val")
    pixels, _ = read_pair(shards, len(shards) // 2)
    assert image.title == f"ADE20K layout, validation image {len(shards) // 2}"

    model = load_model(tmp_path / "runs/p/ade20k/region-4x4/0")
    recipe, window = profile.variants[0].recipe, profile.variants[0].evaluation.window
    tall, wide = (min(pair) for pair in zip(pixels.shape[:2], window, strict=True))
    inputs = normalise(torch.from_numpy(pixels[None, :tall, :wide]), recipe.image_mean, recipe.image_std)
    with torch.inference_mode():
        affinity, logits = model.regions(inputs)
    rows, columns = (side // model.patch - 1 for side in (tall, wide))  # those that have all neighbours
    shown = unpack(image.networks[1], image.rows, image.columns)[..., :rows, :columns]
    np.testing.assert_allclose(shown, affinity[0, ..., :rows, :columns], atol=0.5 / 255 + 1e-6)
    classes = np.reshape(image.networks[1].token_class, (image.rows, image.columns))
    np.testing.assert_array_equal(classes[:rows, :columns], logits[0].argmax(0)[:rows, :columns])
    entropy = torch.special.entr(logits[0].softmax(0)).sum(0)
    shown = np.reshape(image.networks[1].token_entropy, (image.rows, image.columns))
    np.testing.assert_allclose(shown[:rows, :columns], entropy[:rows, :columns], atol=1e-4)
    linear = unpack(image.networks[0], image.rows, image.columns)
    assert (linear[4] == 1).all() and linear.sum() == image.rows * image.columns
    jpeg = base64.b64decode(image.picture.partition(",")[2])
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).shape == (
        image.height,
        image.width,
        3,
    )


def test_the_middle_of_a_large_image_is_shown(trained: tuple[Profile, Path], tmp_path: Path) -> None:
    from regproxy.eval.image_regions import ImageRegions

    data = trained[0].datasets[0]
    random = np.random.default_rng(0)
    affinity = random.dirichlet(np.ones(9), (2, 2, 40, 50)).astype(np.float32)
    logits = random.normal(size=(data.num_classes, 40, 50)).astype(np.float32)
    pixels = random.integers(0, 256, (640, 800, 3), dtype=np.uint8)
    regions = ImageRegions(np.moveaxis(affinity, -1, 0), logits, pixels, 16)
    image = explorer_image("large", {"2x2": regions}, data, selected="2x2")
    assert (image.rows, image.columns, image.height, image.width) == (20, 32, 320, 512)
    shown = unpack(image.networks[0], 20, 32)
    np.testing.assert_allclose(shown, regions.affinity[..., 10:30, 9:41], atol=0.5 / 255 + 1e-6)


def test_a_profile_without_pictures_or_runs_has_no_explorer(profile: Profile, tmp_path: Path) -> None:
    for one in (profile, dataclasses.replace(profile, pictures=None)):
        assert explorer_images(one, gather(one, tmp_path), one.datasets[0], data_dir=tmp_path) == []
