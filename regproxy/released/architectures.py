"""The models that the paper's authors released: their architectures, taps and recipes.

A checkpoint contains neither the tap nor the recipe, so they are listed here. A test compares them with the
profile paper-main.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from regproxy.config.dataset import DataConfig
from regproxy.config.formats import FORMATS
from regproxy.config.network import Backbone, ModelConfig
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Evaluation, Variant
from regproxy.errors import DataError

Dataset = Literal["ade20k", "cityscapes"]


@dataclass(frozen=True)
class Architecture:
    """A row of the paper's main results."""

    arch: str
    variant: str
    backbone: Backbone
    layout: tuple[int, int, tuple[int, ...], bool]  # width, blocks, stem's bottlenecks by stage, distilled?
    taps: tuple[int, int]  # on ADE20K and on Cityscapes
    restarts: bool  # whether the schedule is cosine_restart, not poly


ARCHITECTURES = tuple(
    Architecture(arch, variant, Backbone(timm_name=timm_name), layout, taps, restarts=layout[0] >= 768)
    for arch, variant, timm_name, layout, taps in (
        ("Ti/16", "official-ti", "vit_tiny_patch16_384", (192, 12, (), False), (4, 2)),
        ("S/16", "official-s", "vit_small_patch16_384", (384, 12, (), False), (4, 2)),
        ("R26+S/32", "official-r26", "vit_small_r26_s32_384", (384, 12, (2, 2, 2, 2), False), (-1, -1)),
        ("B/16", "official-b", "deit_base_distilled_patch16_384", (768, 12, (), True), (4, 2)),
        ("L/16", "official-l", "vit_large_patch16_384", (1024, 24, (), False), (9, 5)),
        ("R50+L/32", "official-r50", "vit_large_r50_s32_384", (1024, 24, (3, 4, 6, 3), False), (-1, -1)),
    )
)


def find_architecture(shapes: Mapping[str, tuple[int, ...]], known: Sequence[Architecture]) -> Architecture:
    """Return the known architecture with the layout of these shapes, whose names are the authors'.

    Raises:
        DataError: there is none. The message continues a sentence that begins with the name of the file.
    """

    def count(prefix: str) -> int:  # different numbers that follow the prefix
        return len({match[1] for name in shapes if (match := re.match(rf"{prefix}\.(\d+)\.", name))})

    stages = r"backbone\.patch_embed\.backbone\.stages"
    stem = tuple(count(rf"{stages}\.{stage}\.blocks") for stage in range(count(stages)))
    width, depth = shapes["backbone.pos_embed"][2], count(r"backbone\.layers")
    distilled = "backbone.dist_token" in shapes
    for architecture in known:
        if architecture.layout == (width, depth, stem, distilled):
            return architecture
    raise DataError(
        f"is not a released architecture: width {width}, {depth} blocks, "
        f"{f'stem {list(stem)}' if stem else 'no stem'}, {'a' if distilled else 'no'} distillation token; "
        f"known are {', '.join(architecture.arch for architecture in known)}"
    )


def official_variant(architecture: Architecture, dataset: Dataset, *, crop: int, region: int) -> Variant:
    """Return the variant of a released model: the paper's main schedule and evaluation on that data set.

    Args:
        crop: side in pixels of the square for which its position embedding was trained.
        region: number of sub-cells along each side of a token.
    """
    ade20k = dataset == "ade20k"
    steps = 160_000 if ade20k else 80_000
    scale = (4 * crop, crop) if ade20k else (2048, 1024)  # (long, short); ADE20K: short side as the crop
    stride = crop if ade20k else min(crop, 512)
    schedule = {}  # the default, poly
    if architecture.restarts:
        periods = (steps // 8, steps // 4, steps * 5 // 8)
        schedule = dict(schedule="cosine_restart", cosine_periods=periods, cosine_weights=(1.0, 0.5, 0.25))
    spec = FORMATS[dataset]
    return Variant(
        name=architecture.variant,
        data=DataConfig(
            name=dataset,
            format=dataset,
            root=f"data/{dataset}",
            classes=spec.classes,
        ),
        model=ModelConfig(
            arch=architecture.arch,
            backbone=architecture.backbone,
            head="regproxy",
            region=(region, region),
            conv="depthwise",  # all released models have this kind
            tap=architecture.taps[0 if ade20k else 1],
            drop_path=0.1,
        ),
        recipe=Recipe(
            steps=steps,
            crop=(crop, crop),
            scale=scale,
            **schedule,
        ),
        evaluation=Evaluation(
            scale=scale,
            window=(crop, crop),
            stride=(stride, stride),
            multi_scale_ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        ),
    )
