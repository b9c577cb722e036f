"""The regions of whole images against those of the network's windows."""

import dataclasses

import numpy as np
import pytest
import torch
from smoke_profile import SMOKE_VARIANTS
from torch import Tensor, nn

from regproxy.config.variant import Evaluation
from regproxy.data.geometry import rescaled_size
from regproxy.eval.image_regions import ImageRegions, image_regions, token_grid
from regproxy.eval.sliding import predict
from regproxy.model.affinity import AffinityHead
from regproxy.model.build import build
from regproxy.model.linear import ClassHead
from regproxy.model.regproxy import RegProxy

STATISTICS = {"mean": (100.0, 130.0, 160.0), "std": (20.0, 40.0, 30.0)}


class Patches(nn.Module):
    """A backbone whose tokens are the patches' pixels and depend on the place in the window."""

    def __init__(self, patch: int) -> None:
        super().__init__()
        self.patch, self.late_width = patch, 8
        self.conv = nn.Conv2d(3, 8, patch, stride=patch)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        bottom, right = (-side % self.patch for side in images.shape[2:])
        tokens = self.conv(nn.functional.pad(images, (0, right, 0, bottom)))
        late = tokens + torch.linspace(0, 1, tokens.shape[3]) + torch.linspace(0, 2, tokens.shape[2])[:, None]
        return tokens, late


def network(patch: int, region: tuple[int, int] = (2, 4)) -> RegProxy:
    torch.manual_seed(0)
    model = RegProxy(Patches(patch), AffinityHead(8, region, "depthwise"), num_classes=5).eval()
    model.classifier = ClassHead(8, 5)
    model.classifier.weight.data *= 50
    return model


def drawn(*size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)


def regions_of(model: nn.Module, image: np.ndarray, evaluation: Evaluation) -> ImageRegions:
    return image_regions(model, image, evaluation=evaluation, **STATISTICS)


@pytest.mark.parametrize("size", [(64, 64), (40, 64), (17, 90)])
def test_one_window_has_the_regions_that_predict_observes(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    variant = SMOKE_VARIANTS["cityscapes", "region-4x4"]
    evaluation = dataclasses.replace(variant.evaluation, scale=(64, 64), window=(64, 64), stride=(64, 64))
    model, seen = build(variant).eval(), []
    predict(
        model,
        drawn(*size),
        evaluation=evaluation,
        observe=lambda corners, affinity: seen.append(affinity),
        **STATISTICS,
    )
    found = regions_of(model, drawn(*size), evaluation)
    assert len(seen) == 1 and found.affinity.dtype == found.token_logits.dtype == np.float32
    assert np.array_equal(found.affinity, seen[0][0].numpy())
    assert found.pixels.shape == (*rescaled_size(size, (64, 64)), 3) and found.pixels.dtype == np.uint8


def most_central(starts: list[int], window: int, token: int) -> int:
    return min(starts, key=lambda start: abs(token + 0.5 - start - window / 2))


@pytest.mark.parametrize("patch", [8, 7])
@pytest.mark.parametrize("stride", [(24, 40), (8, 16), (40, 24)])
@pytest.mark.parametrize("size", [(100, 130), (41, 96), (30, 300)])
def test_every_token_is_that_of_the_window_in_which_it_is_most_central(
    size: tuple[int, int], stride: tuple[int, int], patch: int
) -> None:
    evaluation = Evaluation(scale=(max(size), min(size)), window=(40, 48), stride=stride)
    model, image = network(patch), drawn(*size)
    found = regions_of(model, image, evaluation)
    tall, wide = -(-40 // patch), -(-48 // patch)
    height, width = found.grid
    assert (height, width) == token_grid(size, evaluation, patch)
    assert (height, width) == (max(-(-size[0] // patch), tall), max(-(-size[1] // patch), wide))
    padded = np.zeros((height * patch, width * patch, 3), np.float32)
    padded[: size[0], : size[1]] = (image - np.float32(STATISTICS["mean"])) / np.float32(STATISTICS["std"])
    steps = [max(min(step // patch, side - 2), 1) for step, side in zip(stride, (tall, wide), strict=True)]
    tops, lefts = (
        [*range(0, length - side, step), length - side]
        for length, side, step in zip((height, width), (tall, wide), steps, strict=True)
    )
    for row in range(height):
        for column in range(width):
            top, left = most_central(tops, tall, row), most_central(lefts, wide, column)
            window = padded[top * patch : (top + tall) * patch, left * patch : (left + wide) * patch]
            with torch.no_grad():
                affinity, logits = model.regions(torch.from_numpy(window).permute(2, 0, 1)[None])
            place = (0, ..., row - top, column - left)
            np.testing.assert_allclose(found.affinity[..., row, column], affinity[place], atol=1e-6)
            np.testing.assert_allclose(found.token_logits[..., row, column], logits[place], atol=1e-4)
            if row not in (0, height - 1) and column not in (0, width - 1):
                assert (found.affinity[..., row, column] > 0).all()  # connected to all its neighbours
    np.testing.assert_allclose(found.affinity.sum(axis=0), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["linear", "segmenter"])
def test_without_regions_each_token_has_its_own_cell(name: str) -> None:
    torch.manual_seed(0)
    variant = SMOKE_VARIANTS["cityscapes", "linear"]
    backbone = dataclasses.replace(variant.model.backbone, width=64)
    variant = dataclasses.replace(
        variant, model=dataclasses.replace(variant.model, head=name, backbone=backbone)
    )
    evaluation = dataclasses.replace(variant.evaluation, scale=(64, 64))
    found = regions_of(build(variant).eval(), drawn(64, 50), evaluation)
    assert found.affinity.shape == (9, 1, 1, 4, 4) and found.token_logits.shape == (8, 4, 4)
    rows, columns = np.indices((64, 50)) // 16
    np.testing.assert_array_equal(found.pixel_ids(), rows * 4 + columns)
    np.testing.assert_array_equal(found.heat(1, 2), (rows == 1) & (columns == 2))


def test_pixels_have_the_sub_cell_of_their_centre() -> None:
    """A token of 7 pixels with 2 x 4 sub-cells: borders lie between and inside of pixels."""
    found = regions_of(network(7), drawn(20, 30), Evaluation(scale=(30, 20), window=(21, 28), stride=(7, 7)))
    height, width = found.grid
    for size in ((20, 30), (33, 47)):
        ids = found.pixel_ids(size)
        heats = [[found.heat(row, column, size) for column in range(width)] for row in range(height)]
        for y in range(size[0]):
            for x in range(size[1]):
                row, i = divmod(int((y + 0.5) * 20 / size[0] * 2 // 7), 2)
                column, j = divmod(int((x + 0.5) * 30 / size[1] * 4 // 7), 4)
                n = found.affinity[:, i, j, row, column].argmax()
                assert ids[y, x] == (row + n // 3 - 1) * width + column + n % 3 - 1
                for n in range(9):
                    r, c = row + n // 3 - 1, column + n % 3 - 1
                    if 0 <= r < height and 0 <= c < width:
                        assert heats[r][c][y, x] == found.affinity[n, i, j, row, column]
        total = np.sum(heats, axis=(0, 1))
        np.testing.assert_allclose(total, 1, atol=1e-5)
    assert found.cell(1, 2) == (7, 14, 14, 21) and found.cell(1, 2, (40, 60)) == (14, 28, 28, 42)


def test_classes_and_entropy_of_tokens() -> None:
    logits = np.zeros((3, 1, 2), np.float32)
    logits[2, 0, 1] = 100
    found = ImageRegions(np.ones((9, 1, 1, 1, 2), np.float32), logits, np.zeros((4, 8, 3), np.uint8), 4)
    assert found.classes.tolist() == [[0, 2]]
    np.testing.assert_allclose(found.entropy, [[np.log(3), 0]], atol=1e-9)
