"""Keys of fine-tuning and losses: what is refused, and what the fingerprint leaves out."""

import copy
import dataclasses
import json
from typing import Any

import pytest
import yaml

from regproxy.config import variant as variant_module
from regproxy.config.network import Backbone, ModelConfig
from regproxy.config.profile_file import load_profile, profile_path, resolve_profile
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError

CONTENT = yaml.safe_load(profile_path("smoke").read_text())
VARIANT = load_profile("smoke").variants[0]


def with_recipe(**keys: Any) -> Variant:
    """Return the smoke profile's first variant with these keys in its file's recipe."""
    content = copy.deepcopy(CONTENT)
    content["datasets"].pop("cityscapes")
    content["recipe"].update(keys)
    return resolve_profile("smoke", content).variants[0]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"freeze": 1}, r"freeze is invalid: expected bool; got int 1"),
        ({"backbone_lr_factor": 0}, r"backbone_lr_factor is invalid: expected more than 0; got 0.0"),
        ({"head_lr_factor": -1}, r"head_lr_factor is invalid: expected more than 0; got -1.0"),
        ({"layer_decay": 1.5}, r"layer_decay is invalid: expected more than 0 and at most 1; got 1.5"),
        ({"clip_gradient": 0}, r"clip_gradient is invalid: expected more than 0; got 0.0"),
        ({"ema_decay": 1}, r"ema_decay is invalid: expected at least 0 and below 1; got 1.0"),
        ({"ema_decay": float("nan")}, r"ema_decay is invalid: .*got nan"),
        ({"dice_weight": -1}, r"dice_weight is invalid: expected at least 0; got -1.0"),
        ({"ohem_threshold": 0}, r"ohem_threshold is invalid: expected more than 0 and at most 1; got 0.0"),
        ({"ohem_min_share": 2}, r"ohem_min_share is invalid: expected at least 0 and at most 1; got 2.0"),
        ({"class_weights": {"car": -1}}, r"class_weights of car is invalid: expected at least 0; got -1.0"),
        ({"class_weights": {"car": float("inf")}}, r"class_weights of car is invalid"),
        ({"class_weights": {"raod": 2}}, r"class_weights of linear: 'raod' is not known.*mean 'road'"),
        ({"class_weights": [1, 2]}, r"class_weights is invalid: expected a mapping"),
        ({"freeze": True, "layer_decay": 0.8}, r"freeze leaves no learning rate to the backbone"),
        (
            {"dice_weight": 1, "grad_accum_steps": 2},
            r"need the whole batch at once: set grad_accum",
        ),
        ({"ohem_threshold": 0.7, "grad_accum_steps": 4}, r"set grad_accum_steps to 1; got 4"),
    ],
)
def test_mistakes_are_named(keys: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        with_recipe(**keys)


@pytest.mark.parametrize(
    "keys",
    [
        {"freeze": True},
        {"backbone_lr_factor": 0.1},
        {"head_lr_factor": 10},
        {"layer_decay": 0.75},
        {"clip_gradient": 1},
        {"ema_decay": 0.999},
        {"dice_weight": 1},
        {"ohem_threshold": 0.7},
        {"ohem_threshold": 0.7, "ohem_min_share": 0.1},
        {"class_weights": {"car": 2}, "grad_accum_steps": 2},
    ],
    ids=str,
)
def test_every_key_is_read_and_changes_the_fingerprint(keys: dict) -> None:
    changed = with_recipe(**keys)
    assert changed.fingerprint() != VARIANT.fingerprint()
    again = Variant.from_dict(json.loads(json.dumps(changed.to_dict())))
    assert again == changed and hash(again) == hash(changed)
    assert again.fingerprint() == changed.fingerprint()


def test_a_key_with_its_default_value_changes_no_fingerprint() -> None:
    written = with_recipe(layer_decay=1.0, class_weights={}, ema_decay=None, weight_decay=0.01)
    assert written == VARIANT and written.fingerprint() == VARIANT.fingerprint()


def test_a_record_of_a_version_without_a_key_keeps_its_fingerprint() -> None:
    record = VARIANT.to_dict()
    for key in ("freeze", "layer_decay", "class_weights", "ema_decay"):
        del record["recipe"][key]
    assert Variant.from_dict(record).fingerprint() == VARIANT.fingerprint()


DEFAULTS = {  # of version 1
    Backbone: {
        "width": None,
        "depth": None,
        "heads": None,
    },
    ModelConfig: {
        "region": None,
        "conv": None,
        "tap": None,
        "multi_level": False,
        "drop_path": 0.1,
        "pretrain": "none",
        "weights": None,
    },
    Recipe: {
        "batch_size": 16,
        "grad_accum_steps": 1,
        "learning_rate": 6e-05,
        "betas": (0.9, 0.999),
        "eps": 1e-08,
        "weight_decay": 0.01,
        "schedule": "poly",
        "cosine_periods": (),
        "cosine_weights": (),
        "warmup_steps": 1500,
        "warmup_ratio": 1e-06,
        "loss_mean": "all",
        "region_loss": "none",
        "region_loss_weight": 0.1,
        "ohem_threshold": None,
        "ohem_min_share": 0.0625,
        "dice_weight": 0.0,
        "freeze": False,
        "backbone_lr_factor": 1.0,
        "head_lr_factor": 1.0,
        "layer_decay": 1.0,
        "clip_gradient": None,
        "ema_decay": None,
        "ratio_range": (0.5, 2.0),
        "max_class_share": 0.75,
        "flip_probability": 0.5,
        "photometric": True,
        "image_mean": (123.675, 116.28, 103.53),
        "image_std": (58.395, 57.12, 57.375),
        "precision": "float32",
        "compile": False,
        "loader_workers": 0,
        "log_every": 50,
        "validate_every": None,
        "checkpoint_every": 2000,
    },
}


@pytest.mark.parametrize("cls", DEFAULTS, ids=lambda cls: cls.__name__)
def test_defaults_belong_to_their_version(cls: type) -> None:
    """The fingerprint leaves out defaults. If you change one, raise the version there and here.

    A new key is added to the table; the version stays.
    """
    assert variant_module._DEFAULTS_VERSION == 1
    fields = dataclasses.fields(cls)
    values = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    assert values == DEFAULTS[cls]
