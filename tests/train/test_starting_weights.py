"""Where a training starts from: timm's weights, a run, a released checkpoint."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_comparison import weights
from safetensors.torch import save_file
from torch import nn

from regproxy.config.network import Backbone
from regproxy.errors import ConfigError, DataError
from regproxy.model.backbone import resize_position_embedding
from regproxy.model.build import build
from regproxy.released.official_names import official_names
from regproxy.runs.saved_model import load_model
from regproxy.runs.trial import Trial
from regproxy.storage.hashing import file_sha256
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.progress import run_to_end

MakeTrial = Callable[..., Trial]
UNMOVED = {"learning_rate": 0.0, "steps": 1, "validate_every": None}  # the weights stay those of the start


def network(trial: Trial, seed: int = 1) -> nn.Module:
    """Return the trial's network with random values in every tensor."""
    model = build(trial.variant)
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return model


def save_run(trial: Trial, folder: Path) -> dict[str, torch.Tensor]:
    """Write a run folder with random weights and return them."""
    folder.mkdir()
    state = network(trial).state_dict()
    save_file(state, folder / "model.safetensors")
    (folder / "run.json").write_text(json.dumps({"variant": trial.variant.to_dict()}))
    return state


def started(trial: Trial) -> tuple[dict[str, torch.Tensor], dict, list[str]]:
    """Train one step that moves no weight; return the weights, `started_from` and the first notes."""
    reports = []
    record = run_to_end(train(trial, Context()), reports.append)
    return weights(trial), record["started_from"], list(reports[0].notes)


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_run_starts_from_a_whole_run(make_trial: MakeTrial, tmp_path: Path, place: str) -> None:
    first = save_run(make_trial(), tmp_path / "first")
    file = tmp_path / "first" / "model.safetensors"
    start = tmp_path / "first" if place == "folder" else file
    trial = make_trial(pretrain="file", weights=str(start), **UNMOVED)
    assert trial.fingerprint_parts["weights"] == file_sha256(file)
    state, origin, notes = started(trial)
    for name, tensor in first.items():
        assert torch.equal(state[name], tensor) or "running" in name or "num_batches" in name, name
    assert origin == {
        "path": str(file),
        "sha256": file_sha256(file),
        "loaded": len(first),
        "left_out": [],
        "drawn": [],
    }
    assert notes == [
        f"starts from {file}: {len(first)} tensors loaded; drawn anew: nothing; not used: nothing"
    ]


def test_a_head_of_other_classes_and_regions_is_drawn_anew(make_trial: MakeTrial, tmp_path: Path) -> None:
    first = save_run(make_trial(), tmp_path / "first")
    trial = make_trial(pretrain="file", weights=str(tmp_path / "first"), region=(2, 2), **UNMOVED)
    data = dataclasses.replace(trial.variant.data, classes=(*trial.variant.data.classes, "boat"))
    trial = dataclasses.replace(trial, variant=dataclasses.replace(trial.variant, data=data))
    state, origin, notes = started(trial)
    fresh = ("affinity_head.out.", "classifier.")
    for name, tensor in first.items():
        if not name.startswith(fresh) and "running" not in name and "num_batches" not in name:
            assert torch.equal(state[name], tensor), name
    assert state["classifier.weight"].shape == (9, 32) and state["classifier.weight"].std() < 0.05
    parts = ["affinity_head.out", "classifier.weight", "classifier.bias"]
    assert origin["drawn"] == parts and sorted(origin["left_out"]) == sorted(parts)
    assert "drawn anew: affinity_head.out, classifier.weight, classifier.bias" in notes[0]


def test_another_head_keeps_the_backbone(make_trial: MakeTrial, tmp_path: Path) -> None:
    first = save_run(make_trial(), tmp_path / "first")
    state, origin, _ = started(
        make_trial("linear", pretrain="file", weights=str(tmp_path / "first"), **UNMOVED)
    )
    assert all(torch.equal(tensor, first[name]) for name, tensor in state.items())
    assert origin["drawn"] == []
    assert origin["left_out"] == ["affinity_head.stem", "affinity_head.out"]


def test_the_crop_of_a_run_says_the_grid_of_its_positions(make_trial: MakeTrial, tmp_path: Path) -> None:
    """32 x 128 pixels are 2 x 8 tokens, as many as 64 x 64 pixels have."""
    first = save_run(make_trial(crop=(32, 128)), tmp_path / "first")
    position = first["backbone.vit.pos_embed"]
    state, _, _ = started(make_trial(pretrain="file", weights=str(tmp_path / "first"), **UNMOVED))
    expected = resize_position_embedding(position, (2, 8), (4, 4), 1)
    assert position.shape == expected.shape and not torch.equal(position, expected)
    assert torch.equal(state["backbone.vit.pos_embed"], expected)


def test_patches_of_another_size_are_drawn_and_the_positions_resized(
    make_trial: MakeTrial, tmp_path: Path
) -> None:
    """64 x 64 pixels are 4 x 4 patches of 16 pixels, and 5 x 5 of 14."""
    first = save_run(make_trial("linear"), tmp_path / "first")
    backbone = Backbone(timm_name="vit_small_patch14_dinov2", width=32, depth=2, heads=2)
    trial = make_trial(
        "linear", backbone=backbone, pretrain="file", weights=str(tmp_path / "first"), **UNMOVED
    )
    state, origin, _ = started(trial)
    expected = resize_position_embedding(first["backbone.vit.pos_embed"], (4, 4), (5, 5), 1)
    assert torch.equal(state["backbone.vit.pos_embed"], expected)
    assert "backbone.vit.patch_embed" in origin["drawn"]


def test_the_start_may_be_removed_while_the_training_runs(make_trial: MakeTrial, tmp_path: Path) -> None:
    save_run(make_trial(), tmp_path / "first")
    sha256 = file_sha256(tmp_path / "first/model.safetensors")
    training = train(make_trial(pretrain="file", weights=str(tmp_path / "first")), Context())
    next(training)
    shutil.rmtree(tmp_path / "first")
    assert run_to_end(training)["started_from"]["sha256"] == sha256


def test_a_note_is_given_once(make_trial: MakeTrial, tmp_path: Path) -> None:
    save_run(make_trial(), tmp_path / "first")
    trial = make_trial(pretrain="file", weights=str(tmp_path / "first"), log_every=1)
    training = train(trial, Context())
    assert len(next(training).notes) == 1
    next(training)
    training.close()
    reports = []
    record = run_to_end(train(trial, Context()), reports.append)
    assert reports[0].step == 1 and not reports[0].notes
    assert record["started_from"]["loaded"] == len(weights(trial))


def test_fewer_blocks_load_and_other_widths_are_refused(make_trial: MakeTrial, tmp_path: Path) -> None:
    save_run(make_trial(), tmp_path / "first")
    model = {"pretrain": "file", "weights": str(tmp_path / "first"), **UNMOVED}
    shallow = Backbone(timm_name="vit_tiny_patch16_384", width=32, depth=1, heads=2)
    _, origin, _ = started(make_trial(backbone=shallow, run="shallow", **model))
    assert origin["left_out"] == ["backbone.vit.blocks.1"] and origin["drawn"] == []
    wide = Backbone(timm_name="vit_tiny_patch16_384", width=64, depth=2, heads=2)
    with pytest.raises(DataError, match=r"model.safetensors does not fit this network: no block"):
        run_to_end(train(make_trial(backbone=wide, run="wide", **model), Context()))


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_released_checkpoint_is_a_start(make_trial: MakeTrial, tmp_path: Path, prefix: str) -> None:
    trial = make_trial(region=(1, 1), pretrain="file", weights=str(tmp_path / "released.pth"), **UNMOVED)
    model = network(trial)
    theirs = official_names(model.state_dict())
    released = {prefix + theirs[name]: tensor for name, tensor in model.state_dict().items()}
    released[f"{prefix}decode_head.mlp.0.0.weight"] = torch.ones(150, 32)
    meta = {"iter": 160_000, "CLASSES": ("wall", "building"), "config": "model = dict()"}
    torch.save({"meta": meta, "state_dict": released, "optimizer": {}}, tmp_path / "released.pth")
    assert f"{prefix}backbone.layers.1.attn.attn.in_proj_weight" in released
    state, origin, notes = started(trial)
    for name, tensor in model.state_dict().items():
        if name != "classifier.weight" and "running" not in name and "num_batches" not in name:
            assert torch.equal(state[name], tensor), name
    assert origin["drawn"] == origin["left_out"] == ["classifier.weight"]
    assert "released.pth" in notes[0]


def test_a_run_that_is_not_finished_is_named(make_trial: MakeTrial, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"weights file \S+/absent is missing\. .*finish the run"):
        _ = make_trial(pretrain="file", weights=str(tmp_path / "absent")).fingerprint
    (tmp_path / "absent").mkdir()
    with pytest.raises(ConfigError, match=r"absent/model.safetensors is missing"):
        _ = make_trial(pretrain="file", weights=str(tmp_path / "absent")).fingerprint


def test_timms_weights_stay_strict(make_trial: MakeTrial, tmp_path: Path) -> None:
    vit = build(make_trial("linear").variant).backbone.vit.state_dict()
    file = tmp_path / "own.safetensors"
    trial = make_trial("linear", pretrain="file", weights=str(file), **UNMOVED)
    save_file(vit | {"head.weight": torch.ones(10, 32)}, file)
    state, origin, notes = started(trial)
    assert (origin["loaded"], origin["left_out"], origin["drawn"]) == (len(vit), ["head.weight"], [])
    assert not notes
    assert all(torch.equal(tensor, state[f"backbone.vit.{name}"]) for name, tensor in vit.items())
    vit.pop("norm.bias")
    save_file(vit, file)
    with pytest.raises(DataError, match="missing: norm"):
        run_to_end(train(dataclasses.replace(trial).moved(run_dir=str(tmp_path / "other")), Context()))


def test_random_weights_have_no_origin(make_trial: MakeTrial) -> None:
    assert "started_from" not in run_to_end(train(make_trial(), Context()))


def test_a_finished_run_needs_its_start_no_more(make_trial: MakeTrial, tmp_path: Path) -> None:
    save_run(make_trial(), tmp_path / "first")
    trial = make_trial(pretrain="file", weights=str(tmp_path / "first"))
    run_to_end(train(trial, Context()))
    shutil.rmtree(tmp_path / "first")
    state = load_model(trial.workspace.run_dir).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in weights(trial).items())
