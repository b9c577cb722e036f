"""Backbones against a plain forward pass, timm's own tokens, and one network of every family."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from einops import rearrange
from torch import Tensor, nn

from regproxy.config.dataset import DataConfig
from regproxy.config.network import Backbone, ModelConfig
from regproxy.config.profile_file import load_profile
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Evaluation, Variant
from regproxy.errors import ConfigError
from regproxy.eval.sliding import predict
from regproxy.model.backbone import VisionTransformer
from regproxy.model.build import build
from regproxy.model.build_backbone import build_backbone
from regproxy.runs.saved_model import load_model, save_model

TINY = Backbone(timm_name="vit_tiny_patch16_384", width=32, depth=3, heads=2)
# Rotary, mixed rotary and relative positions, registers, layer scale, windows, SAM with and without a neck.
FAMILIES = [
    "vit_small_patch16_dinov3",
    "eva02_tiny_patch14_224",
    "vit_small_patch16_rope_mixed_ape_224",
    "vit_pe_core_tiny_patch16_384",
    "vit_pe_spatial_tiny_patch16_512",
    "beitv2_base_patch16_224",
    "samvit_base_patch16",
    "samvit_base_patch16_224",
    "vit_small_patch14_reg4_dinov2",
]


def variant_of(backbone: Backbone, *, window: tuple[int, int] = (64, 96)) -> Variant:
    return Variant(
        name="toy",
        data=DataConfig(name="toy", format="folder", root=".", classes=("a", "b", "c")),
        model=ModelConfig(
            arch="Toy", backbone=backbone, head="regproxy", region=(2, 2), conv="depthwise", tap=0
        ),
        recipe=Recipe(steps=1, crop=(64, 96), scale=(96, 64)),
        evaluation=Evaluation(scale=(96, 64), window=window, stride=window),
    )


def plain_tokens(backbone: VisionTransformer, images: Tensor) -> tuple[Tensor | None, Tensor]:
    """Return the early and late tokens of a plain ViT or hybrid for images of whole patches, step by step."""
    vit = backbone.vit
    stem = getattr(vit.patch_embed, "backbone", nn.Identity())(images)
    patches = vit.patch_embed.proj(stem[-1] if isinstance(stem, list) else stem)
    (rows, columns), num_prefix = patches.shape[2:], vit.num_prefix_tokens
    position = vit.pos_embed
    if (rows, columns) != backbone.grid:
        square = rearrange(position[:, num_prefix:], "1 (H W) C -> 1 C H W", H=backbone.grid[0])
        square = nn.functional.interpolate(square, (rows, columns), mode="bicubic", antialias=False)
        resized = rearrange(square, "1 C H W -> 1 (H W) C")
        position = torch.cat([position[:, :num_prefix], resized], dim=1)
    prefix = [getattr(vit, name) for name in ("cls_token", "dist_token") if hasattr(vit, name)]
    prefix = [token.expand(len(images), -1, -1) for token in prefix]
    tokens = torch.cat([*prefix, rearrange(patches, "B C H W -> B (H W) C")], dim=1) + position
    layers = [tokens]
    for block in vit.blocks:
        layers.append(block(layers[-1]))
    late = torch.cat([*(layers[level + 1] for level in backbone.levels), vit.norm(layers[-1])], dim=-1)
    early = None if backbone.tap is None else layers[backbone.tap + 1]
    return tuple(
        None if tokens is None else rearrange(tokens[:, num_prefix:], "B (H W) C -> B C H W", H=rows)
        for tokens in (early, late)
    )


def gradients(backbone: VisionTransformer, outputs: tuple[Tensor | None, Tensor]) -> list[Tensor]:
    total = sum(output.square().mean() for output in outputs if output is not None)
    return torch.autograd.grad(total, list(backbone.parameters()), allow_unused=True, materialize_grads=True)


def published_networks() -> list[pytest.ParameterSet]:
    """Return the backbone, crop, tap and levels of every distinct network of the demo and of the paper."""
    found = {}
    for profile, depth in (("demo", None), ("paper", 3), ("paper-main", 2)):
        for variant in load_profile(profile).variants:
            model, crop = variant.model, variant.recipe.crop
            backbone = dataclasses.replace(model.backbone, depth=depth or model.backbone.depth)
            tap = None if model.tap is None else min(model.tap, 1)
            key = (profile, model.arch, model.multi_level, tap is None)
            if profile == "demo" or max(crop) <= 512:
                found.setdefault(key, (backbone, crop, tap, model.multi_level))
    return [pytest.param(*network, id="-".join(map(str, key))) for key, network in found.items()]


@pytest.mark.parametrize(("config", "crop", "tap", "multi_level"), published_networks())
def test_networks_of_the_paper_and_the_demo_equal_the_plain_forward_to_the_last_bit(
    config: Backbone, crop: tuple[int, int], tap: int | None, multi_level: bool
) -> None:
    """In training, with drop path: tokens, gradients and random draws. At another size: to 1e-5."""
    torch.manual_seed(0)
    backbone = build_backbone(
        config, image_size=crop, tap=tap, drop_path=0.3, multi_level=multi_level
    ).train()
    images = torch.randn(1, 3, *crop)
    results = []
    for forward in (backbone, lambda images: plain_tokens(backbone, images)):
        torch.manual_seed(1)
        outputs = forward(images)
        results.append([*outputs, *gradients(backbone, outputs), torch.rand(1)])
    for ours, plain in zip(*results, strict=True):
        assert (ours is None and plain is None) or torch.equal(ours, plain)
    backbone.eval()
    images = torch.randn(1, 3, 3 * backbone.patch, 5 * backbone.patch)
    with torch.no_grad():
        for ours, plain in zip(backbone(images), plain_tokens(backbone, images), strict=True):
            assert (ours is None and plain is None) or torch.allclose(ours, plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_of_every_family_train_are_saved_and_predict(name: str, tmp_path: Path) -> None:
    variant = variant_of(Backbone(timm_name=name, width=64, depth=2, heads=2))
    torch.manual_seed(0)
    model = build(variant).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    model(torch.randn(2, 3, 64, 96)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle
    optimizer.step()
    images = torch.randn(1, 3, 64, 96)
    expected = model.eval()(images)
    save_model(model, tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"variant": variant.to_dict()}))
    assert torch.equal(load_model(tmp_path)(images), expected)
    recipe, image = variant.recipe, np.zeros((50, 70, 3), np.uint8)
    settings = {"evaluation": variant.evaluation, "mean": recipe.image_mean, "std": recipe.image_std}
    assert predict(model, image, **settings).shape == (50, 70)
    if not model.backbone.has_fixed_size:
        patch = model.patch
        assert model(torch.randn(1, 3, 40, 140)).shape == (1, 3, -(-40 // patch) * 2, -(-140 // patch) * 2)


@pytest.mark.parametrize("name", ["vit_small_patch16_18x2_224", "vit_small_resnet26d_224", *FAMILIES])
def test_last_tokens_equal_timms(name: str) -> None:
    config = Backbone(timm_name=name, width=64, depth=2, heads=2)
    backbone = build_backbone(config, image_size=(96, 64), tap=1, drop_path=0.0).eval()
    vit, images = backbone.vit, torch.randn(1, 3, *(side * backbone.patch for side in backbone.grid))
    early, late = backbone(images)
    tokens = vit.forward_features(images)
    if tokens.ndim == 3:
        tokens = tokens[:, vit.num_prefix_tokens :].mT.unflatten(2, late.shape[2:])
    torch.testing.assert_close(late, tokens)
    intermediate = vit.forward_intermediates(images, indices=[1], intermediates_only=True)[0]
    torch.testing.assert_close(early, intermediate)  # the output of the last block, without the norm


def test_a_relative_position_bias_takes_one_size_only() -> None:
    config = Backbone(timm_name="beit_base_patch16_224", width=64, depth=2, heads=2)
    with pytest.raises(ConfigError, match=r"window \[64, 64\] is invalid: .* Set the window to the crop"):
        build(variant_of(config, window=(64, 64)))
    model = build(variant_of(config)).eval()
    assert model(torch.randn(1, 3, 60, 90)).shape == (1, 3, 8, 12)  # padded to the same grid
    with pytest.raises(ConfigError, match=r"fits images of \[64, 96\] pixels only; got \[64, 64\]"):
        model(torch.randn(1, 3, 64, 64))


def test_taps_are_the_residual_stream() -> None:
    images = torch.randn(1, 3, 64, 64)
    backbone = build_backbone(TINY, image_size=(64, 64), tap=-1, drop_path=0.0).eval()
    vit = backbone.vit
    stream = vit._pos_embed(vit.patch_embed(images))
    for tap in range(-1, 3):
        if tap >= 0:
            stream = vit.blocks[tap](stream)
        backbone.tap = tap
        torch.testing.assert_close(backbone(images)[0].flatten(2).mT, stream[:, 1:])


def test_multi_level_needs_three_blocks() -> None:
    config = Backbone(timm_name="vit_tiny_patch16_384", width=32, depth=2, heads=2)
    with pytest.raises(ConfigError, match=r"this backbone has 2\. Set its depth to 3 or more"):
        build_backbone(config, image_size=(64, 64), tap=None, drop_path=0.0, multi_level=True)


def test_multi_level_features_are_those_of_three_layers() -> None:
    config = dataclasses.replace(TINY, depth=8)
    backbone = build_backbone(config, image_size=(64, 64), tap=None, drop_path=0.0, multi_level=True).eval()
    images = torch.randn(1, 3, 64, 64)
    _, late = backbone(images)
    assert backbone.levels == (3, 5) and late.shape == (1, 3 * 32, 4, 4)
    parts = late.split(32, dim=1)
    backbone.levels = ()
    for block, part in zip((3, 5), parts[:2], strict=True):
        backbone.tap = block
        torch.testing.assert_close(part, backbone(images)[0])
    torch.testing.assert_close(parts[2], backbone(images)[1])


def test_position_embedding_follows_the_grid() -> None:
    backbone = build_backbone(TINY, image_size=(64, 64), tap=0, drop_path=0.0)
    own = backbone._position_embedding((4, 4))
    assert own is backbone.vit.pos_embed
    resized = backbone._position_embedding((2, 8))  # as many tokens, but another grid
    assert torch.equal(resized[:, :1], own[:, :1]) and not torch.equal(resized, own)
    grid = own[:, 1:].mT.unflatten(2, (4, 4))
    expected = nn.functional.interpolate(grid, (2, 8), mode="bicubic", antialias=False)
    torch.testing.assert_close(resized[:, 1:], expected.flatten(2).mT)
