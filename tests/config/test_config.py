"""Configuration is strict: a typo, a wrong type or an impossible combination is one clear sentence."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from regproxy.config.profile_file import load_profile, profile_path, resolve
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError

CONTENT = yaml.safe_load(profile_path("smoke").read_text())
PROFILES = sorted(path.stem for path in Path("pipelines/profiles").glob("*.yaml"))


def changed(path: str, value: object) -> dict:
    """Returns the smoke profile with one key changed."""
    content = copy.deepcopy(CONTENT)
    *parents, last = path.split(".")
    place = content
    for key in parents:
        place = place[key]
    place[last] = value
    return content


@pytest.mark.parametrize("name", PROFILES)
def test_every_profile_resolves(name: str) -> None:
    profile = load_profile(name)
    assert len(profile.trials()) == len(profile.variants) * len(profile.seeds)


@pytest.mark.parametrize("name", PROFILES)
def test_variants_survive_json(name: str) -> None:
    for variant in load_profile(name).variants:
        again = Variant.from_dict(variant.to_dict())
        assert again == variant
        assert json.loads(json.dumps(variant.to_dict())) == variant.to_dict()
        assert again.digest() == variant.digest()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("recpie", {}, r"key: 'recpie' is not known.*did you mean 'recipe'"),
        ("recipe.learning_rte", 1.0, r"'learning_rte' is not known.*did you mean 'learning_rate'"),
        (
            "recipe.learning_rate",
            "6e-5",
            r"learning_rate: expected float, got str '6e-5', write it as 6.0e-5",
        ),
        ("recipe.steps", 1.5, r"steps: expected int, got float 1.5"),
        ("recipe.steps", 0, r"steps 0 is not allowed, it must be 1 or more"),
        ("recipe.crop", [64], r"crop: expected 2 values"),
        ("recipe.crop", [64, 0], r"crop \[64, 0\] is not allowed, it must be 1 or more"),
        ("recipe.validate_every", 0, r"validate_every 0 is not allowed, it must be 1 or more"),
        ("recipe.learning_rate", float("nan"), r"learning_rate nan is not allowed, it must be 0 or more"),
        ("recipe.learning_rate", float("inf"), r"learning_rate inf is not allowed"),
        ("recipe.flip_probability", 1.5, r"flip_probability 1.5 is not allowed, .* between 0 and 1"),
        ("recipe.image_std", [1.0, 0.0, 1.0], r"image_std \[1.0, 0.0, 1.0\] is not allowed"),
        ("recipe.image_mean", [0.0, float("nan"), 0.0], r"image_mean \[0.0, nan, 0.0\] is not allowed"),
        ("recipe.ratio_range", [0.5, float("inf")], r"ratio_range \[0.5, inf\] is not allowed"),
        ("recipe.cosine_weights", [-1.0], r"cosine_weights \[-1.0\] is not allowed, it must be 0 or more"),
        ("evaluation.multi_scale_ratios", [float("nan")], r"multi_scale_ratios \[nan\] is not allowed"),
        (
            "variants.linear.backbone",
            {"timm_name": "x"},
            r"linear.backbone: a variant takes that of its arch",
        ),
        ("variants.linear.pretrain", "nonne", r"pretrain: 'nonne' is not .*none, file; did you mean 'none'"),
        (
            "variants.linear",
            {**CONTENT["variants"]["linear"], "datasets": ["ade20k"], "by_dataset": {"cityscapes": {}}},
            r"linear.by_dataset: 'cityscapes' is not known, allowed are ade20k",
        ),
        ("variants.region-4x4.region", [4, 0], r"region \[4, 0\] is not allowed, it must be 1 or more"),
        ("evaluation.window", [0, 64], r"stride \[64, 64\] is not allowed"),
        ("datasets.ade20k.evaluation", {"scale": [0, 64]}, r"scale \[0, 64\] is not allowed"),
        ("recipe.precision", "fp16", r"precision: 'fp16' is not known, allowed are float32, bf16"),
        ("recipe.grad_accum_steps", 3, r"grad_accum_steps 3 does not divide batch_size 4"),
        ("recipe.schedule", "cosine_restart", r"cosine_periods cover 0 of 8 steps"),
        ("variants.linear.region", [4, 4], r"head linear has no region"),
        ("variants.region-4x4.region", None, r"head regproxy needs region"),
        ("variants.region-4x4.arch", "Smoke/61", r"'Smoke/61' is not known.*did you mean 'Smoke/16'"),
        ("variants.region-4x4.conv", "deptwise", r"did you mean 'depthwise'"),
        ("datasets.ade20k.format", "ade", r"did you mean 'ade20k'"),
        ("datasets.ade20k.classes", ["sky", "raod"], r"did you mean 'road'"),
        ("evaluation.stride", [65, 64], r"stride \[65, 64\] is not allowed"),
        ("tables.output-strides.rows", [{"label": ["x"], "variant": "liner"}], r"did you mean 'linear'"),
        ("pictures.variants", ["liner"], r"did you mean 'linear'"),
        ("resources.workers", 3, r"3 workers with grad_accum_steps 1 do not divide batch_size 4"),
        ("resources.workers", 0, r"workers 0 is not allowed, it must be 1 or more"),
        ("resources.gpus", -1.0, r"gpus -1.0 is not allowed, it must be 0 or more"),
        ("pictures.num_images", 0, r"num_images 0 is not allowed"),
        ("seeds", [-1], r"seeds \[-1\] is not allowed, it must be 0 or more"),
        ("seeds", [0, 0], r"seeds \[0, 0\] repeat"),
        ("seeds", [], r"seeds must not be empty"),
        ("seeds", None, r"seeds: expected a list, got None"),
    ],
)
def test_mistakes_are_named(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve("smoke", changed(path, value))


def test_unknown_profile_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"profile: 'dmo' is not known.*did you mean 'demo'"):
        load_profile("dmo")


def test_layers_override_in_order() -> None:
    content = changed("variants.linear.recipe", {"steps": 5})
    content["datasets"]["ade20k"]["recipe"]["batch_size"] = 2
    variants = {
        (variant.name, variant.data.name): variant.recipe for variant in resolve("smoke", content).variants
    }
    assert variants["linear", "ade20k"].steps == 5
    assert variants["region-4x4", "ade20k"].steps == 8
    assert variants["region-4x4", "ade20k"].batch_size == 2
    assert variants["region-4x4", "cityscapes"].batch_size == 4


def test_digest_ignores_name_and_evaluation_only() -> None:
    one, renamed, scored, longer = (
        resolve("smoke", content).variants[0]
        for content in (
            CONTENT,
            {**CONTENT, "variants": {"other": CONTENT["variants"]["linear"]}, "tables": {}, "pictures": None},
            changed("evaluation.stride", [32, 32]),
            changed("recipe.steps", 9),
        )
    )
    assert one.digest() == renamed.digest() == scored.digest() != longer.digest()
