"""The models that the paper's authors released: architectures, and what their tensors do not tell.

No key of a checkpoint tells the tapped block or the recipe; those stand here. A test holds them equal to the
main profile.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from regproxy.config.formats import FORMATS
from regproxy.config.variant import Backbone, DataConfig, Evaluation, ModelConfig, Recipe, Variant

Dataset = Literal["ade20k", "cityscapes"]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A row of the paper's main results.

    Its `layout` tells it by its tensors: width, number of blocks, bottlenecks a stage of a hybrid's stem, and
    whether it has a distillation token. `taps` says which block each data set's model taps.
    """

    arch: str
    variant: str
    backbone: Backbone
    patch: int
    layout: tuple[int, int, tuple[int, ...], bool]
    taps: Mapping[str, int]
    schedule: Literal["poly", "cosine_restart"]


ARCHITECTURES = (
    Architecture(
        arch="Ti/16",
        variant="official-ti",
        backbone=Backbone(timm_name="vit_tiny_patch16_384"),
        patch=16,
        layout=(192, 12, (), False),
        taps={"ade20k": 4, "cityscapes": 2},
        schedule="poly",
    ),
    Architecture(
        arch="S/16",
        variant="official-s",
        backbone=Backbone(timm_name="vit_small_patch16_384"),
        patch=16,
        layout=(384, 12, (), False),
        taps={"ade20k": 4, "cityscapes": 2},
        schedule="poly",
    ),
    Architecture(
        arch="R26+S/32",
        variant="official-r26",
        backbone=Backbone(timm_name="vit_small_r26_s32_384"),
        patch=32,
        layout=(384, 12, (2, 2, 2, 2), False),
        taps={"ade20k": -1, "cityscapes": -1},
        schedule="poly",
    ),
    Architecture(
        arch="B/16",
        variant="official-b",
        backbone=Backbone(timm_name="deit_base_distilled_patch16_384"),
        patch=16,
        layout=(768, 12, (), True),
        taps={"ade20k": 4, "cityscapes": 2},
        schedule="cosine_restart",
    ),
    Architecture(
        arch="L/16",
        variant="official-l",
        backbone=Backbone(timm_name="vit_large_patch16_384"),
        patch=16,
        layout=(1024, 24, (), False),
        taps={"ade20k": 9, "cityscapes": 5},
        schedule="cosine_restart",
    ),
    Architecture(
        arch="R50+L/32",
        variant="official-r50",
        backbone=Backbone(timm_name="vit_large_r50_s32_384"),
        patch=32,
        layout=(1024, 24, (3, 4, 6, 3), False),
        taps={"ade20k": -1, "cityscapes": -1},
        schedule="cosine_restart",
    ),
)


def find_architecture(shapes: Mapping[str, tuple[int, ...]], known: Sequence[Architecture]) -> Architecture:
    """Returns the one of `known` that has the layout of these tensors, by the authors' names.

    Raises:
        ValueError: there is none.
    """

    def count(prefix: str) -> int:
        return len({match[1] for name in shapes if (match := re.match(rf"{prefix}\.(\d+)\.", name))})

    stages = r"backbone\.patch_embed\.backbone\.stages"
    stem = tuple(count(rf"{stages}\.{stage}\.blocks") for stage in range(count(stages)))
    width, depth, distilled = (
        shapes["backbone.pos_embed"][2],
        count(r"backbone\.layers"),
        "backbone.dist_token" in shapes,
    )
    for architecture in known:
        if architecture.layout == (width, depth, stem, distilled):
            return architecture
    raise ValueError(
        f"is of no released architecture: width {width}, {depth} blocks, "
        f"{f'stem {list(stem)}' if stem else 'no stem'}, {'a' if distilled else 'no'} distillation token; "
        f"known are {', '.join(architecture.arch for architecture in known)}"
    )


def official_variant(architecture: Architecture, dataset: Dataset, *, crop: int, region: int) -> Variant:
    """Returns the variant of a released model: the paper's main schedule and evaluation on that data set.

    Args:
        crop: side of the square that its position embedding was trained for, in pixels.
        region: sub-cells along a token's side.
    """
    ade20k = dataset == "ade20k"
    steps = 160_000 if ade20k else 80_000
    scale = (4 * crop, crop) if ade20k else (2048, 1024)  # (long, short); ADE20K's short side is the crop's
    stride = crop if ade20k else min(crop, 512)
    restarts = architecture.schedule == "cosine_restart"
    return Variant(
        name=architecture.variant,
        data=DataConfig(
            name=dataset,
            format=dataset,
            root=f"data/{dataset}",
            classes=FORMATS[dataset].classes,
            train_split=FORMATS[dataset].splits[0],
            val_split=FORMATS[dataset].splits[1],
        ),
        model=ModelConfig(
            arch=architecture.arch,
            backbone=architecture.backbone,
            head="regproxy",
            region=(region, region),
            conv="depthwise",  # the only kind that was released
            tap=architecture.taps[dataset],
            drop_path=0.1,
        ),
        recipe=Recipe(
            steps=steps,
            crop=(crop, crop),
            scale=scale,
            schedule=architecture.schedule,
            cosine_periods=(steps // 8, steps // 4, steps * 5 // 8) if restarts else (),
            cosine_weights=(1.0, 0.5, 0.25) if restarts else (),
        ),
        evaluation=Evaluation(
            scale=scale,
            window=(crop, crop),
            stride=(stride, stride),
            multi_scale_ratios=(0.5, 0.75, 1.0, 1.25, 1.5, 1.75),
        ),
    )
