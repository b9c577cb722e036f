"""Parameters and GFLOPs of the paper's networks, against its tables (512 x 512, 150 classes)."""

import pytest

from regproxy.complexity import gflops_paper, num_parameters
from regproxy.config import Backbone, Cell, DataConfig, Evaluation, ModelConfig, Recipe

TAPS = {"vit_large_patch16_384": 9}
TI, S = "vit_tiny_patch16_384", "vit_small_patch16_384"
B, L = "deit_base_distilled_patch16_384", "vit_large_patch16_384"


def paper_cell(timm_name: str, side: int | None, conv: str = "depthwise") -> Cell:
    """A cell of the paper on ADE20K: region side x side, or the linear baseline where it is None."""
    own = {"head": "linear"}
    if side is not None:
        own = {"head": "regproxy", "region": (side, side), "conv": conv, "tap": TAPS.get(timm_name, 4)}
    return Cell(
        name="paper",
        data=DataConfig(name="ade20k", format="ade20k", root=".", classes=tuple(map(str, range(150)))),
        model=ModelConfig(arch="paper", backbone=Backbone(timm_name=timm_name), **own),
        recipe=Recipe(steps=1, crop=(640, 640), scale=(2048, 512)),
        evaluation=Evaluation(scale=(2048, 512), window=(512, 512), stride=(512, 512)),
    )


@pytest.mark.parametrize(
    ("timm_name", "side", "gflops", "parameters"),
    [
        (TI, None, 3.8179, 5_712_342),
        (TI, 1, 3.8604, 5_753_439),
        (TI, 2, 3.8658, 5_758_650),
        (TI, 4, 3.8871, 5_779_494),
        (TI, 8, 3.9725, 5_862_870),
        (TI, 16, 4.3140, 6_196_374),
        (S, None, 14.8907, 22_041_366),
        (S, 1, 15.0512, 22_197_279),
        (S, 2, 15.0618, 22_207_674),
        (S, 4, 15.1044, 22_249_254),
        (S, 8, 15.2747, 22_415_574),
        (S, 16, 15.9559, 23_080_854),
        (B, 4, 59.5866, 87_261_990),
        (L, 4, 208.6669, 305_512_742),
    ],
)
def test_table_1(timm_name: str, side: int | None, gflops: float, parameters: int) -> None:
    cell = paper_cell(timm_name, side)
    assert num_parameters(cell) == parameters
    assert gflops_paper(cell) == pytest.approx(gflops, abs=5e-5)


@pytest.mark.parametrize(
    ("timm_name", "conv", "gflops", "millions"),
    [
        (TI, "none", 3.8464, 5.7401),
        (TI, "normal", 4.1867, 6.0723),
        (S, "none", 14.9475, 22.0968),
        (S, "normal", 16.3076, 23.4247),
    ],
)
def test_table_2(timm_name: str, conv: str, gflops: float, millions: float) -> None:
    cell = paper_cell(timm_name, 4, conv)
    assert num_parameters(cell) / 1e6 == pytest.approx(millions, abs=5e-5)
    assert gflops_paper(cell) == pytest.approx(gflops, abs=5e-5)
