"""Pre-trained weights: every key is accounted for, missing files are named, nothing else is unpickled."""

import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from regproxy.config.network import Backbone, ModelConfig
from regproxy.errors import ConfigError, DataError
from regproxy.model.backbone import VisionTransformer
from regproxy.model.build_backbone import build_backbone
from regproxy.model.pretrained import ensure_weights, load_pretrained, read_weights, weights_file
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end

TINY = Backbone(timm_name="vit_tiny_patch16_384", width=32, depth=2, heads=2)
HYBRID = Backbone(timm_name="vit_tiny_r_s16_p8_384", width=32, depth=2, heads=2)
DINO = ModelConfig(
    arch="S/16", backbone=TINY, head="linear", pretrain="dino", weights="vit_small_patch16_224.dino"
)


def backbone(config: Backbone = TINY, side: int = 64) -> VisionTransformer:
    return build_backbone(config, image_size=(side, side), tap=None, drop_path=0.0)


def published(config: Backbone = TINY, side: int = 96) -> dict[str, Tensor]:
    """Return weights as timm publishes them: another square position grid, and an ImageNet classifier."""
    torch.manual_seed(1)
    weights = {
        name: torch.randn_like(value) for name, value in backbone(config, side).vit.state_dict().items()
    }
    return weights | {"head.weight": torch.randn(10, 32), "head.bias": torch.randn(10)}


@pytest.mark.parametrize("config", [TINY, HYBRID], ids=["plain", "hybrid"])
def test_every_weight_arrives(config: Backbone, tmp_path: Path) -> None:
    weights, target = published(config), backbone(config)
    save_file(weights, tmp_path / "w.safetensors")
    load_pretrained(target, tmp_path / "w.safetensors")
    for name, value in target.vit.state_dict().items():
        if name != "pos_embed":
            assert torch.equal(value, weights[name]), name
    patch = target.patch
    grid = weights["pos_embed"][:, 1:].mT.unflatten(2, (96 // patch, 96 // patch))
    resized = torch.nn.functional.interpolate(grid, (64 // patch, 64 // patch), mode="bicubic")
    torch.testing.assert_close(target.vit.pos_embed[:, 1:], resized.flatten(2).mT)
    assert torch.equal(target.vit.pos_embed[:, :1], weights["pos_embed"][:, :1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("norm.bias"), r"missing: norm.bias\)"),
        (lambda w: w.update(extra=torch.ones(1)), r"superfluous: extra\)"),
        (
            lambda w: w.update({"norm.bias": torch.ones(3)}),
            r"of another shape: norm.bias \[3\] instead of \[32\]\)",
        ),
        (
            lambda w: w.update(pos_embed=torch.ones(1, 7, 32)),
            r"pos_embed \[1, 7, 32\] does not fit a square grid",
        ),
    ],
)
def test_a_leftover_on_either_side_is_an_error(change: Callable, message: str, tmp_path: Path) -> None:
    weights, target = published(), backbone()
    before = {name: value.clone() for name, value in target.vit.state_dict().items()}
    change(weights)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(DataError, match=message):
        load_pretrained(target, tmp_path / "w.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in target.vit.state_dict().items())


@pytest.mark.parametrize(
    ("name", "resized"),
    [
        ("eva02_tiny_patch14_224", {"pos_embed"}),
        ("beit_base_patch16_224", {"relative_position_bias_table"}),
        ("samvit_base_patch16", {"pos_embed", "rel_pos_h", "rel_pos_w"}),
    ],
)
def test_positions_of_every_kind_are_resized(name: str, resized: set[str], tmp_path: Path) -> None:
    config = Backbone(timm_name=name, width=32, depth=3, heads=2)
    torch.manual_seed(0)
    weights = {key: torch.randn_like(value) for key, value in backbone(config, 112).vit.state_dict().items()}
    if "norm.weight" in weights:  # timm publishes EVA and BEiT with a norm after pooling
        weights |= {f"fc_{name}": weights.pop(name) for name in ("norm.weight", "norm.bias")}
    save_file(weights, tmp_path / "w.safetensors")
    target = build_backbone(config, image_size=(64, 96), tap=None, drop_path=0.0)
    load_pretrained(target, tmp_path / "w.safetensors")
    loaded = {
        f"fc_{key}" if key.startswith("norm.") else key: value
        for key, value in target.vit.state_dict().items()
    }
    changed = {key.rsplit(".", 1)[-1] for key in weights if not torch.equal(weights[key], loaded[key])}
    assert changed == resized


def test_torch_checkpoints_are_read_without_unpickling_anything_else(tmp_path: Path) -> None:
    torch.save({"state_dict": {"a": torch.ones(2)}, "epoch": 3}, tmp_path / "good.pth")
    assert torch.equal(read_weights(tmp_path / "good.pth")["a"], torch.ones(2))
    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Path("x")))
    (tmp_path / "noise.pth").write_bytes(b"no checkpoint")
    torch.save([1, 2], tmp_path / "list.pth")
    for name in ("evil.pth", "noise.pth", "list.pth", "absent.pth"):
        with pytest.raises(DataError, match=name):
            read_weights(tmp_path / name)


def test_absent_weights_are_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # a port without a server
    with pytest.raises(ConfigError, match=r"vit_small_patch16_224\.dino") as error:
        ensure_weights(DINO, tmp_path)
    expected = tmp_path / "vit_small_patch16_224.dino.safetensors"
    assert f"are not at {expected}" in str(error.value) and "pretrained_dir" in str(error.value)
    save_file({"a": torch.ones(1)}, expected)
    assert ensure_weights(DINO, tmp_path) == expected
    own = dataclasses.replace(DINO, pretrain="file", weights=str(tmp_path / "own.pth"))
    with pytest.raises(ConfigError, match=r"own\.pth is missing"):
        ensure_weights(own, tmp_path)


def test_scratch_needs_no_file(tmp_path: Path) -> None:
    scratch = dataclasses.replace(DINO, pretrain="none", weights=None)
    assert weights_file(scratch, tmp_path) is None and ensure_weights(scratch, tmp_path) is None


def test_pretrain_and_weights_come_together() -> None:
    with pytest.raises(ConfigError, match="pretrain deit needs weights"):
        dataclasses.replace(DINO, pretrain="deit", weights=None)
    with pytest.raises(ConfigError, match="pretrain none does not use weights"):
        dataclasses.replace(DINO, pretrain="none")


def test_training_starts_from_the_file(make_trial, tmp_path: Path) -> None:
    """With a learning rate of 0 the weights stay those of the file. Another file changes the fingerprint."""
    trial = make_trial(
        "linear", pretrain="file", weights=str(tmp_path / "own.safetensors"), learning_rate=0.0, drop_path=0.0
    )
    weights = {name: value for name, value in published().items() if not name.startswith("head")}
    save_file(weights, tmp_path / "own.safetensors")
    fingerprint = trial.fingerprint
    run_to_end(train(trial, Context()))
    trained = load_file(Path(trial.workspace.run_dir) / "model.safetensors")
    assert torch.equal(trained["backbone.vit.blocks.1.mlp.fc1.weight"], weights["blocks.1.mlp.fc1.weight"])
    save_file({name: value + 1 for name, value in weights.items()}, tmp_path / "own.safetensors")
    assert dataclasses.replace(trial).fingerprint != fingerprint
