"""The tiles of the loss: they cover every label once and stay small."""

import math

import pytest
import torch

from regproxy.train.tiles import label_tiles


@pytest.mark.parametrize(
    ("device", "elements"), [("cpu", 2**19), ("meta", 2**23)]
)  # meta represents any accelerator
@pytest.mark.parametrize("classes", [2, 150, 20000])
@pytest.mark.parametrize("shape", [(8, 128, 128), (2, 512, 512), (1, 3, 5), (3, 700, 1000)])
def test_tiles_cover_every_label_once_and_stay_small(
    shape: tuple[int, int, int], classes: int, device: str, elements: int
) -> None:
    seen = torch.zeros(shape, dtype=torch.uint8)
    for tile in label_tiles(torch.Size(shape), classes, torch.device(device)):
        seen[tile] += 1
        sides = [part.stop - part.start for part in tile]
        assert math.prod(sides) * classes <= elements or sides[:2] == [1, 1]
    assert (seen == 1).all()


def test_more_labels_than_a_32_bit_integer_counts() -> None:
    tiles = label_tiles(torch.Size((2, 8192, 8192)), 150, torch.device("cpu"))
    assert sum(math.prod(part.stop - part.start for part in tile) for tile in tiles) * 150 > 2**34
