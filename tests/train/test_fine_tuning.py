"""Freezing, learning rates by block and clipping."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from run_comparison import weights
from torch import nn

from regproxy.data.loader import Batch
from regproxy.model.build import build
from regproxy.runs.history import read_history
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.loop import train
from regproxy.train.optim import build_optimizer, enter_training_mode, freeze_backbone
from regproxy.train.progress import run_to_end
from regproxy.train.step import update

MakeTrial = Callable[..., Trial]


def losses(trial: Trial) -> list[float]:
    entries = read_history(Path(trial.workspace.run_dir) / "metrics.jsonl")
    return [entry["loss"] for entry in entries]


def initial_weights(trial: Trial) -> dict[str, torch.Tensor]:
    """Return the weights before the first step, from a training that has none to make."""
    start = make_unmoving(trial)
    run_to_end(train(start, Context()))
    return weights(start)


def make_unmoving(trial: Trial) -> Trial:
    recipe = dataclasses.replace(trial.variant.recipe, learning_rate=0.0, steps=1, ema_decay=None)
    variant = dataclasses.replace(trial.variant, recipe=recipe)
    return dataclasses.replace(trial, variant=variant).moved(run_dir=f"{trial.workspace.run_dir}-start")


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_a_frozen_backbone_does_not_change(make_trial: MakeTrial, precision: str) -> None:
    trial = make_trial(freeze=True, drop_path=0.5, precision=precision)
    record = run_to_end(train(trial, Context()))
    before, after = initial_weights(trial), weights(trial)
    for name in before:
        assert torch.equal(before[name], after[name]) == name.startswith("backbone."), name
    head = {name for name in before if not name.startswith("backbone.")}
    assert record["num_trained_parameters"] == sum(
        after[name].numel() for name in head if "running" not in name and "num_batches" not in name
    )
    assert record["num_trained_parameters"] < record["num_parameters"]
    assert json.loads((Path(trial.workspace.run_dir) / "run.json").read_text()) == record


def test_everything_is_trained_by_default(make_trial: MakeTrial) -> None:
    record = run_to_end(train(make_trial(), Context()))
    assert record["num_trained_parameters"] == record["num_parameters"]


def test_a_frozen_backbone_keeps_no_activations_and_drops_no_path(make_trial: MakeTrial) -> None:
    model = build(make_trial(drop_path=0.9).variant)
    freeze_backbone(model)
    enter_training_mode(model)
    assert model.affinity_head.training and not any(module.training for module in model.backbone.modules())
    images = torch.randn(2, 3, 64, 64)
    early, late = model.backbone(images)
    assert early.grad_fn is None and late.grad_fn is None
    assert torch.equal(late, model.backbone(images)[1])
    frozen = kept_elements(model, images)
    model.backbone.requires_grad_(True)
    enter_training_mode(model)
    assert frozen < 0.5 * kept_elements(model, images)


def kept_elements(model: nn.Module, images: torch.Tensor) -> int:
    """Return how many elements a forward pass keeps for the backward pass."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()), lambda _: None):
        model(images)
    return sum(kept)


def test_validation_leaves_a_frozen_backbone_in_eval_mode(make_trial: MakeTrial) -> None:
    """Drop path after a validation would change the loss of the same weights."""
    changes = {"freeze": True, "drop_path": 0.9, "log_every": 1}
    once, often = make_trial(run="once", **changes), make_trial(run="often", validate_every=2, **changes)
    for trial in (once, often):
        run_to_end(train(trial, Context()))
    assert losses(once) == losses(often)


def test_rates_and_decay_of_every_parameter(make_trial: MakeTrial) -> None:
    """A network of two blocks; block 1 is one block from the end, and the patches are three."""
    changes = {"layer_decay": 0.5, "backbone_lr_factor": 0.1, "head_lr_factor": 10.0, "weight_decay": 0.02}
    trial = make_trial(**changes)
    model = build(trial.variant)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    actual = {
        names[id(parameter)]: (group["lr_factor"], group["weight_decay"])
        for group in build_optimizer(model, trial.variant.recipe).param_groups
        for parameter in group["params"]
    }
    assert actual.keys() == set(names.values())
    expected = {
        "backbone.vit.cls_token": (0.0125, 0.0),
        "backbone.vit.pos_embed": (0.0125, 0.0),
        "backbone.vit.patch_embed.proj.weight": (0.0125, 0.02),
        "backbone.vit.patch_embed.proj.bias": (0.0125, 0.02),
        "backbone.vit.blocks.0.norm1.weight": (0.025, 0.0),
        "backbone.vit.blocks.0.attn.qkv.weight": (0.025, 0.02),
        "backbone.vit.blocks.0.mlp.fc2.bias": (0.025, 0.02),
        "backbone.vit.blocks.1.norm2.bias": (0.05, 0.0),
        "backbone.vit.blocks.1.attn.proj.weight": (0.05, 0.02),
        "backbone.vit.norm.weight": (0.1, 0.0),
        "classifier.weight": (10.0, 0.02),
        "affinity_head.stem.1.weight": (10.0, 0.02),
        "affinity_head.out.bias": (10.0, 0.02),
    }
    for name, (factor, decay) in expected.items():
        assert actual[name] == (pytest.approx(factor, rel=1e-12), decay), name


def one_step(trial: Trial, **recipe: object) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return the network and its optimiser after one step with learning rate 0.5."""
    variant = dataclasses.replace(trial.variant, recipe=dataclasses.replace(trial.variant.recipe, **recipe))
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 8, (4, 64, 64), generator=generator, dtype=torch.uint8)
    torch.manual_seed(0)
    model = build(variant)
    if variant.recipe.freeze:
        freeze_backbone(model)
    enter_training_mode(model)
    optimizer = build_optimizer(model, variant.recipe)
    parts = variant.recipe.grad_accum_steps
    batches = [Batch(*pair, None) for pair in zip(images.chunk(parts), labels.chunk(parts), strict=True)]
    update(model, optimizer, iter(batches), 0.5, dataclasses.replace(trial, variant=variant), 0, Context())
    return model, optimizer


def test_a_step_uses_the_rate_of_each_group(make_trial: MakeTrial) -> None:
    _, optimizer = one_step(make_trial(), backbone_lr_factor=0.5, head_lr_factor=3.0)
    assert {group["lr"] for group in optimizer.param_groups} == {0.25, 1.5}


def test_a_frozen_backbone_is_not_in_the_optimiser(make_trial: MakeTrial) -> None:
    model, optimizer = one_step(make_trial(), freeze=True)
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    assert held == {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert not held & {id(parameter) for parameter in model.backbone.parameters()}
    assert all(parameter.grad is None for parameter in model.backbone.parameters())


@pytest.mark.parametrize("parts", [1, 2])
def test_the_whole_gradient_is_clipped_once(make_trial: MakeTrial, parts: int) -> None:
    """After all micro-batches: the direction stays, the norm of all gradients becomes the limit."""
    changes = {"conv": "none", "drop_path": 0.0, "grad_accum_steps": parts}
    gradients = []
    for limit in (None, 0.01, 1e6):
        model, _ = one_step(make_trial(**changes), clip_gradient=limit)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    free, clipped, unchanged = gradients
    assert free.norm() > 0.02
    torch.testing.assert_close(clipped, free * (0.01 / free.norm()), rtol=1e-3, atol=1e-9)
    assert torch.equal(free, unchanged)
