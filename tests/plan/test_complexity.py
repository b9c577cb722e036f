"""Parameters and GFLOPs of the paper's networks, against its tables (512 x 512, 150 classes)."""

import dataclasses

import pytest

from regproxy.config.dataset import DataConfig
from regproxy.config.network import Backbone, ModelConfig
from regproxy.config.profile_file import load_profile
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Evaluation, Variant
from regproxy.plan.complexity import build_on_meta, complexity, gflops_paper, num_parameters

TAPS = {"vit_large_patch16_384": 9, "vit_small_r26_s32_384": -1, "vit_large_r50_s32_384": -1}
TI, S = "vit_tiny_patch16_384", "vit_small_patch16_384"
B, L = "deit_base_distilled_patch16_384", "vit_large_patch16_384"
R26, R50 = "vit_small_r26_s32_384", "vit_large_r50_s32_384"


def paper_variant(timm_name: str, side: int | None, conv: str = "depthwise") -> Variant:
    """Return a variant of the paper on ADE20K: region side x side, or the linear baseline if side is None."""
    head = {"head": "linear"}
    if side is not None:
        head = {"head": "regproxy", "region": (side, side), "conv": conv, "tap": TAPS.get(timm_name, 4)}
    return Variant(
        name="paper",
        data=DataConfig(name="ade20k", format="ade20k", root=".", classes=tuple(map(str, range(150)))),
        model=ModelConfig(arch="paper", backbone=Backbone(timm_name=timm_name), **head),
        recipe=Recipe(steps=1, crop=(640, 640), scale=(2048, 512)),
        evaluation=Evaluation(scale=(2048, 512), window=(512, 512), stride=(512, 512)),
    )


@pytest.mark.parametrize(
    ("timm_name", "side", "gflops", "gmacs", "parameters"),
    [
        (TI, None, 3.8179, 10.4629, 5_712_342),
        (TI, 1, 3.8604, 10.5056, 5_753_439),
        (TI, 2, 3.8658, 10.5150, 5_758_650),
        (TI, 4, 3.8871, 10.5528, 5_779_494),
        (TI, 8, 3.9725, 10.7041, 5_862_870),
        (TI, 16, 4.3140, 11.3093, 6_196_374),
        (S, None, 14.8907, 31.8080, 22_041_366),
        (S, 1, 15.0512, 31.9675, 22_197_279),
        (S, 2, 15.0618, 31.9823, 22_207_674),
        (S, 4, 15.1044, 32.0413, 22_249_254),
        (S, 8, 15.2747, 32.2775, 22_415_574),
        (S, 16, 15.9559, 33.2224, 23_080_854),
        (R26, None, 16.1971, 18.5082, 36_184_150),
        (R26, 1, 16.2372, 18.5481, 36_340_063),
        (R26, 2, 16.2398, 18.5518, 36_350_458),
        (R26, 4, 16.2505, 18.5665, 36_392_038),
        (R26, 8, 16.2931, 18.6256, 36_558_358),
        (R26, 16, 16.4634, 18.8618, 37_223_638),
        (B, 4, 59.5866, 108.0142, 87_261_990),
        (L, 4, 208.6669, 363.3988, 305_512_742),
        (R50, 4, 74.1771, 103.1013, 329_545_062),
    ],
)
def test_table_1(timm_name: str, side: int | None, gflops: float, gmacs: float, parameters: int) -> None:
    counted = complexity(paper_variant(timm_name, side))
    assert counted["params"] == parameters
    assert counted["gflops_paper"] == pytest.approx(gflops, abs=5.1e-5)
    assert counted["gmacs"] == pytest.approx(gmacs, abs=5.1e-5)


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
    network = build_on_meta(paper_variant(timm_name, 4, conv))
    assert num_parameters(network) / 1e6 == pytest.approx(millions, abs=5e-5)
    assert gflops_paper(network) == pytest.approx(gflops, abs=5e-5)


def test_variants_of_the_profile_have_the_cost_of_their_networks() -> None:
    """Variants of the paper profile cost as much as their architecture, on both data sets."""
    variants = [variant for variant in load_profile("paper").variants if variant.name == "r26-4x4"]
    assert [complexity(variant)["params"] for variant in variants] == [36_392_038] * 2
    assert complexity(variants[0]) | {"region": None} == complexity(variants[1]) | {"region": None}


def test_the_data_set_and_its_keys_do_not_matter() -> None:
    plain = paper_variant(TI, 4)
    own = DataConfig(
        name="mine",
        format="folder",
        root=".",
        classes=("road", "car"),
        values=((1,), (2,)),
        void_labels=(11,),
        absent_classes=("car",),
    )
    recipe = dataclasses.replace(plain.recipe, class_weights={"car": 2.0})
    assert complexity(dataclasses.replace(plain, data=own, recipe=recipe)) == complexity(plain)
