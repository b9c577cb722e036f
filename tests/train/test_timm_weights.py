"""Weights of timm's families in timm's own naming."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from regproxy.config.network import Backbone, ModelConfig
from regproxy.model.build import build
from regproxy.runs.trial import Trial
from regproxy.train.starting_weights import load_starting_weights

MakeTrial = Callable[..., Trial]

TIMM = {  # timm's model -> narrower sizes that its options allow
    "vit_small_patch14_dinov2": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "vit_small_patch14_reg4_dinov2": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "vit_small_patch16_dinov3": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "vit_base_patch16_clip_224": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "vit_base_patch16_siglip_224": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "deit3_small_patch16_224": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "eva02_tiny_patch14_224": {"embed_dim": 64, "depth": 2, "num_heads": 2},
    "samvit_base_patch16": {"embed_dim": 64, "depth": 3, "num_heads": 2},
    "vit_base_patch16_224": {"embed_dim": 64, "depth": 2, "num_heads": 2},  # MAE's too
}


@pytest.mark.parametrize(("name", "sizes"), TIMM.items(), ids=TIMM)
def test_timms_own_models_load_by_their_names(
    make_trial: MakeTrial, tmp_path: Path, name: str, sizes: dict[str, int]
) -> None:
    """Weights as timm saves them, at its own image size, without the options that a backbone here needs."""
    import timm

    torch.manual_seed(1)
    published = timm.create_model(name, **sizes).state_dict()
    published = {key: torch.rand_like(tensor) for key, tensor in published.items()}
    save_file(published, tmp_path / f"{name}.tag.safetensors")
    backbone = Backbone(
        timm_name=name, width=sizes["embed_dim"], depth=sizes["depth"], heads=sizes["num_heads"]
    )
    config = ModelConfig(arch="x", backbone=backbone, head="linear", pretrain="mine", weights=f"{name}.tag")
    base = make_trial("linear").variant
    model = build(dataclasses.replace(base, model=config))
    start = load_starting_weights(model, config, tmp_path)
    loaded = model.backbone.vit.state_dict()
    assert start.num_loaded == len(loaded) and not start.drawn
    resized = ("pos_embed", "rel_pos_h", "rel_pos_w")
    for key, tensor in loaded.items():
        source = published.get(key, published.get(f"fc_{key}"))
        assert torch.equal(tensor, source) or key.endswith(resized), key
    assert model(torch.randn(1, 3, 70, 50)).isfinite().all()
