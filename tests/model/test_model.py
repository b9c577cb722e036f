"""Whole networks: any input size, gradients, initial weights, saving and loading, errors of the user."""

import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import regproxy
from regproxy.config.dataset import DataConfig
from regproxy.config.network import Backbone, ModelConfig
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Evaluation, Variant
from regproxy.errors import ConfigError, DataError
from regproxy.inference.load import load
from regproxy.model.build import build
from regproxy.model.regproxy import RegProxy
from regproxy.runs.saved_model import load_model, save_model

TINY = Backbone(timm_name="vit_tiny_patch16_384", width=32, depth=3, heads=2)
HYBRID = Backbone(timm_name="vit_tiny_r_s16_p8_384", width=32, depth=2, heads=2)
HEADS = {
    "linear": {"head": "linear"},
    "2x3": {"head": "regproxy", "region": (2, 3), "conv": "depthwise", "tap": 1},
    "4x4": {"head": "regproxy", "region": (4, 4), "conv": "normal", "tap": -1},
    "16x16": {"head": "regproxy", "region": (16, 16), "conv": "none", "tap": 2},
    "levels": {"head": "regproxy", "region": (2, 2), "conv": "depthwise", "tap": 0, "multi_level": True},
}


def make_variant(head: str = "2x3", *, backbone: Backbone = TINY, **changes: object) -> Variant:
    return Variant(
        name=head,
        data=DataConfig(name="toy", format="folder", root=".", classes=("a", "b", "c", "d", "e")),
        model=ModelConfig(arch="Tiny/16", backbone=backbone, **{**HEADS[head], **changes}),
        recipe=Recipe(steps=1, crop=(64, 64), scale=(64, 64)),
        evaluation=Evaluation(scale=(64, 64), window=(64, 64), stride=(64, 64)),
    )


def make_run(folder: Path, variant: Variant) -> nn.Module:
    """Write a finished run. Every value of its network is random, also the norms and their statistics."""
    torch.manual_seed(0)
    model = build(variant).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.uniform_(0.01, 0.1)
    save_model(model, folder)
    (folder / "run.json").write_text(json.dumps({"variant": variant.to_dict()}))
    return model


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("height", "width"), [(64, 64), (48, 80), (17, 33), (1, 100)])
def test_any_size_goes_in(head: str, height: int, width: int) -> None:
    model = build(make_variant(head)).eval()
    logits = model(torch.randn(2, 3, height, width))
    rows, columns = HEADS[head].get("region", (1, 1))
    assert logits.shape == (2, 5, -(-height // 16) * rows, -(-width // 16) * columns)
    assert (model.patch, model.stride) == (16, (16 / rows, 16 / columns))


def test_padding_adds_zeros_at_the_bottom_and_right() -> None:
    model, images = build(make_variant()).eval(), torch.randn(1, 3, 40, 50)
    padded = torch.zeros(1, 3, 48, 64)
    padded[:, :, :40, :50] = images
    assert torch.equal(model(images), model(padded))


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_learns(head: str) -> None:
    model = build(make_variant(head, drop_path=0.0)).train()
    model(torch.randn(2, 3, 64, 64)).square().mean().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not idle


def test_initial_weights_and_drop_path_are_those_of_the_recipe() -> None:
    model = build(make_variant(backbone=dataclasses.replace(TINY, width=256, heads=4), drop_path=0.1))
    assert model.classifier.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert (model.classifier.bias == 0).all()
    blocks = model.backbone.vit.blocks
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.05, 0.1], abs=1e-3)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) == 7 and all(norm.eps == 1e-6 for norm in norms)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (96, 32), (33, 70)])
def test_a_hybrid_has_tokens_of_32_pixels(height: int, width: int) -> None:
    model = build(make_variant("4x4", backbone=HYBRID)).eval()
    assert (model.patch, model.stride) == (32, (8, 8))
    logits = model(torch.randn(1, 3, height, width))
    assert logits.shape == (1, 5, -(-height // 32) * 4, -(-width // 32) * 4)


@pytest.mark.parametrize(
    ("backbone", "tap", "message"),
    [
        (TINY, 3, r"tap 3 is invalid: this backbone has 3 blocks\. Set -1 to 2"),
        (TINY, -2, "tap -2"),
        (Backbone(timm_name="vit_teeny_patch16_384"), 0, "timm has no model 'vit_teeny_patch16_384'"),
        (Backbone(timm_name="resnet50"), 0, "resnet50 is not a vision transformer with tokens on a grid"),
        (dataclasses.replace(TINY, heads=5), 0, "got 5 heads for width 32"),
        (Backbone(timm_name="vit_base_patch16_sapiens2"), 0, "timm cannot build vit_base_patch16_sapiens2"),
    ],
)
def test_impossible_backbones_are_refused(backbone: Backbone, tap: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(make_variant(backbone=backbone, tap=tap))


@pytest.mark.parametrize("head", HEADS)
def test_saved_and_loaded_is_the_same_network(head: str, tmp_path: Path) -> None:
    model = make_run(tmp_path, make_variant(head))
    random_state = torch.get_rng_state()
    loaded = load_model(tmp_path)
    assert torch.equal(torch.get_rng_state(), random_state)
    images = torch.randn(1, 3, 40, 70)
    assert not loaded.training and torch.equal(loaded(images), model(images))
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "run.json"}
    assert type(loaded) is type(model) and all(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "run.json").unlink(), "run.json is missing"),
        (lambda run: (run / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda run: (run / "run.json").write_text("{}"), "not a run record"),
        (lambda run: (run / "model.safetensors").write_bytes(b"no"), "damaged"),
        (lambda run: edit(run, lambda w: w.pop("classifier.bias")), r"missing: classifier.bias\)"),
        (lambda run: edit(run, lambda w: w.update(x=torch.ones(1))), r"superfluous: x\)"),
        (
            lambda run: edit(run, lambda w: w.update({"classifier.bias": torch.ones(9)})),
            r"of another shape: classifier.bias",
        ),
    ],
)
def test_a_broken_run_is_refused(damage: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    make_run(tmp_path, make_variant())
    damage(tmp_path)
    with pytest.raises(DataError, match=message):
        load_model(tmp_path)


def edit(run: Path, change: Callable[[dict], object]) -> None:
    weights = load_file(run / "model.safetensors")
    change(weights)
    save_file(weights, run / "model.safetensors")


def test_the_package_offers_its_functions_and_stays_light() -> None:
    assert regproxy.build_model is build and regproxy.load is load
    with pytest.raises(AttributeError, match="no attribute 'train_all'"):
        regproxy.train_all  # noqa: B018
    code = "import sys, regproxy; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_regions_paint_the_output() -> None:
    model, images = build(make_variant("4x4")).eval(), torch.randn(1, 3, 48, 64)
    assert isinstance(model, RegProxy)
    affinity, token_logits = model.regions(images)
    assert affinity.shape == (1, 9, 4, 4, 3, 4) and token_logits.shape == (1, 5, 3, 4)
    bounds = [token_logits.amin(dim=(2, 3)), token_logits.amax(dim=(2, 3))]
    logits = model(images).flatten(2)
    assert (logits >= bounds[0][..., None] - 1e-5).all() and (logits <= bounds[1][..., None] + 1e-5).all()
