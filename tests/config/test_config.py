"""Configuration is strict: a typo, a wrong type or an impossible combination is a ConfigError."""

import copy
import json
from pathlib import Path

import pytest
import yaml

from regproxy.config.profile_file import load_profile, profile_path, resolve_profile
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError

CONTENT = yaml.safe_load(profile_path("smoke").read_text())
PROFILES = sorted(path.stem for path in Path("pipelines/profiles").glob("*.yaml"))


def changed(path: str, value: object) -> dict:
    """Return the content of the smoke profile with one key changed."""
    content = copy.deepcopy(CONTENT)
    *parents, last = path.split(".")
    section = content
    for key in parents:
        section = section[key]
    section[last] = value
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
        assert again.fingerprint() == variant.fingerprint()


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("recpie", {}, r"key: 'recpie' is not known.*did you mean 'recipe'"),
        ("recipe.learning_rte", 1.0, r"'learning_rte' is not known.*did you mean 'learning_rate'"),
        (
            "recipe.learning_rate",
            "6e-5",
            r"learning_rate is invalid: expected float; got str '6e-5'. Write it as 6.0e-5",
        ),
        ("recipe.steps", 1.5, r"steps is invalid: expected int; got float 1.5"),
        ("recipe.steps", 0, r"steps is invalid: expected at least 1; got 0"),
        ("recipe.learning_rate", 10**400, r"learning_rate is invalid: expected float; got int 1000"),
        ("recipe.crop", [64], r"crop is invalid: expected 2 values"),
        ("recipe.crop", [64, 0], r"crop is invalid: expected at least 1; got \[64, 0\]"),
        ("recipe.validate_every", 0, r"validate_every is invalid: expected at least 1; got 0"),
        ("recipe.learning_rate", float("nan"), r"learning_rate is invalid: expected at least 0; got nan"),
        ("recipe.learning_rate", float("inf"), r"learning_rate is invalid: .*got inf"),
        ("recipe.flip_probability", 1.5, r"flip_probability is invalid: .*at most 1; got 1.5"),
        ("recipe.image_std", [1.0, 0.0, 1.0], r"image_std is invalid: .*more than 0.*\[1.0, 0.0, 1.0\]"),
        ("recipe.image_mean", [0.0, float("nan"), 0.0], r"image_mean is invalid: .*\[0.0, nan, 0.0\]"),
        ("recipe.ratio_range", [0.5, float("inf")], r"ratio_range is invalid: .*\[0.5, inf\]"),
        ("recipe.cosine_weights", [-1.0], r"cosine_weights is invalid: expected at least 0; got \[-1.0\]"),
        ("evaluation.multi_scale_ratios", [1e9], r"more than 0 and at most 32; got \[1000000000.0\]"),
        ("evaluation.multi_scale_ratios", [float("nan")], r"multi_scale_ratios is invalid: .*\[nan\]"),
        (
            "variants.linear.backbone",
            {"timm_name": "x"},
            r"linear.backbone is not a key of a variant",
        ),
        ("variants.linear.pretrain", "nonne", r"pretrain: 'nonne' is not .*none, file; did you mean 'none'"),
        (
            "variants.linear",
            {**CONTENT["variants"]["linear"], "datasets": ["ade20k"], "by_dataset": {"cityscapes": {}}},
            r"linear.by_dataset: 'cityscapes' is not known, allowed are ade20k",
        ),
        ("variants.region-4x4.region", [4, 0], r"region is invalid: expected at least 1; got \[4, 0\]"),
        ("evaluation.window", [0, 64], r"window is invalid: .*\[0, 64\]"),
        ("datasets.ade20k.evaluation", {"scale": [0, 64]}, r"scale is invalid: .*\[0, 64\]"),
        ("recipe.ratio_range", [2.0, 0.5], r"ratio_range is invalid: expected low, high; got \[2.0, 0.5\]"),
        ("evaluation.stride", [0, 64], r"stride is invalid: .*\[0, 64\]"),
        ("tables.output-strides.name", "x", r"tables.output-strides: key: 'name' is not known"),
        ("tables.output-strides.columns", ["a", "b"], r"give one label for each of the columns"),
        ("recipe.precision", "fp16", r"precision: 'fp16' is not known, allowed are float32, bf16"),
        ("recipe.grad_accum_steps", 3, r"grad_accum_steps 3 does not divide batch_size 4"),
        ("recipe.schedule", "cosine_restart", r"cosine_periods cover 0 of 8 steps"),
        ("variants.linear.region", [4, 4], r"head linear has no region"),
        ("variants.region-4x4.region", None, r"head regproxy needs region"),
        ("variants.region-4x4.arch", "Smoke/61", r"'Smoke/61' is not known.*did you mean 'Smoke/16'"),
        ("variants.region-4x4.conv", "deptwise", r"did you mean 'depthwise'"),
        ("datasets.ade20k.format", "ade", r"did you mean 'ade20k'"),
        ("datasets.ade20k.classes", ["sky", "raod"], r"did you mean 'road'"),
        ("evaluation.stride", [65, 64], r"stride is invalid: .*\[65, 64\]"),
        ("tables.output-strides.rows", [{"label": ["x"], "variant": "liner"}], r"did you mean 'linear'"),
        ("pictures.variants", ["liner"], r"did you mean 'linear'"),
        ("resources.workers", 3, r"3 workers with grad_accum_steps 1 do not divide batch_size 4"),
        ("resources.workers", 0, r"workers is invalid: expected at least 1; got 0"),
        ("resources.gpus", -1.0, r"gpus is invalid: expected at least 0; got -1.0"),
        ("pictures.num_images", 0, r"num_images is invalid"),
        ("seeds", [-1], r"seeds is invalid: expected at least 0; got \[-1\]"),
        ("seeds", [0, 0], r"seeds \[0, 0\] repeat"),
        ("seeds", [], r"seeds must not be empty"),
        ("seeds", None, r"seeds is invalid: expected a list; got None"),
    ],
)
def test_mistakes_are_named(path: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve_profile("smoke", changed(path, value))


def test_an_unknown_profile_names_the_nearest_and_the_folder() -> None:
    folder = Path("pipelines/profiles").absolute()
    with pytest.raises(ConfigError, match=rf"profile: 'dmo' is not known.*did you mean 'demo'.*{folder}"):
        load_profile("dmo")
    with pytest.raises(ConfigError, match=rf"no/such\.yaml is missing.*camvid, demo, paper.*{folder}"):
        load_profile("no/such.yaml")


def test_a_key_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("seeds: [0]\nrecipe: {steps: 1}\nseeds: [1]\n")
    with pytest.raises(ConfigError, match=r"mine.yaml is not valid YAML: line 3: key 'seeds' occurs twice\."):
        load_profile(str(path))


def test_profiles_are_found_in_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paper, content = load_profile("paper"), profile_path("smoke").read_text()
    monkeypatch.chdir(tmp_path)
    assert load_profile("paper") == paper
    (tmp_path / "mine.yaml").write_text(content)
    mine = load_profile("mine.yaml")
    assert mine.name == "mine" and mine.variants == load_profile("smoke").variants
    Path("pipelines/profiles").mkdir(parents=True)  # a checkout's own profiles are used before installed ones
    Path("pipelines/profiles/own.yaml").write_text(content)
    assert load_profile("own").name == "own"
    with pytest.raises(ConfigError, match=rf"allowed are own.*{tmp_path}/pipelines/profiles"):
        load_profile("paper")


def test_layers_override_in_order() -> None:
    content = changed("variants.linear.recipe", {"steps": 5})
    content["datasets"]["ade20k"]["recipe"]["batch_size"] = 2
    variants = {
        (variant.name, variant.data.name): variant.recipe
        for variant in resolve_profile("smoke", content).variants
    }
    assert variants["linear", "ade20k"].steps == 5
    assert variants["region-4x4", "ade20k"].steps == 8
    assert variants["region-4x4", "ade20k"].batch_size == 2
    assert variants["region-4x4", "cityscapes"].batch_size == 4


def test_fingerprint_ignores_name_and_evaluation_only() -> None:
    one, renamed, scored, longer = (
        resolve_profile("smoke", content).variants[0]
        for content in (
            CONTENT,
            {
                **CONTENT,
                "variants": {"other": CONTENT["variants"]["linear"]},
                "tables": {},
                "pictures": None,
                "search": None,
            },
            changed("evaluation.stride", [32, 32]),
            changed("recipe.steps", 9),
        )
    )
    assert one.fingerprint() == renamed.fingerprint() == scored.fingerprint() != longer.fingerprint()
