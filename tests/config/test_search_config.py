"""The key `search` of a profile: what is refused, and the variants at the corners of a space."""

from typing import Any

import pytest
import yaml

from regproxy.config.profile import Profile
from regproxy.config.profile_file import profile_path, resolve_profile
from regproxy.config.search import Dimension, Search, with_values
from regproxy.errors import ConfigError

RATE = {"learning_rate": {"low": 1.0e-4, "high": 1.0e-2, "log": True}}


def resolve(space: dict[str, Any], **keys: Any) -> Profile:
    """Return the smoke profile with a search over a space; keywords are further keys of the search."""
    content = yaml.safe_load(profile_path("smoke").read_text())
    content["recipe"] |= keys.pop("recipe", {})
    content["search"] = {"variant": "region-4x4", "trials": 3, "space": space, **keys}
    return resolve_profile("smoke", content)


def test_values_have_the_type_of_their_setting() -> None:
    space = {"warmup_steps": {"low": 0.0, "high": 4.0}, "region": {"choices": [[2, 2], [4, 4]]}}
    found = resolve({**RATE, **space}).search.space
    assert found["region"].choices == ((2, 2), (4, 4))
    assert found["warmup_steps"].is_integer and found["warmup_steps"].high == 4
    assert not found["learning_rate"].is_integer
    search = Search(variant="v", trials=1, space={"dice_weight": Dimension(low=0, high=2)})
    assert not search.space["dice_weight"].is_integer


def test_a_corner_is_the_variant_with_its_values() -> None:
    profile = resolve({**RATE, "region": {"choices": [[2, 2], [4, 4], [1, 1]]}}, datasets=["cityscapes"])
    (start,) = profile.search.starts(profile.variants)
    assert start.data.name == "cityscapes"
    corners = profile.search.corners(start)
    assert {(c.recipe.learning_rate, c.model.region) for c in corners} == {
        (rate, (side, side)) for rate in (1.0e-4, 1.0e-2) for side in (1, 2, 4)
    }
    assert with_values(start, {"learning_rate": start.recipe.learning_rate}) == start


def test_a_search_changes_no_other_variant() -> None:
    content = yaml.safe_load(profile_path("smoke").read_text())
    del content["search"]
    without, with_search = resolve_profile("smoke", content), resolve(RATE)
    assert with_search.variants == without.variants
    assert [variant.fingerprint() for variant, _ in with_search.trials()] == [
        variant.fingerprint() for variant, _ in without.trials()
    ]


def test_the_example_of_the_paper_profile_is_valid() -> None:
    text = profile_path("paper").read_text()
    example = text[text.index("# search:") :].replace("\n#", "\n").removeprefix("# ")
    content = yaml.safe_load(text) | yaml.safe_load(example.replace("\n ", "\n"))
    search = resolve_profile("paper", content).search
    assert search.sampler == "random" and search.space["tap"].choices == (2, 4, 6)


@pytest.mark.parametrize(
    ("space", "keys", "message"),
    [
        ({}, {}, "space is empty"),
        ({"learning_rat": {"low": 0.0, "high": 1.0}}, {}, "did you mean 'learning_rate'"),
        ({"arch": {"choices": ["Smoke/16"]}}, {}, "'arch' is not known"),
        ({"tap": {"choices": []}}, {}, "either low and high, or at least one of choices"),
        ({"tap": {"low": 0}}, {}, "either low and high, or at least one of choices"),
        ({"tap": {"low": 0, "high": 1, "choices": [0]}}, {}, "either low and high"),
        ({"tap": {"choices": [0], "log": True}}, {}, "choices have no scale"),
        ({"tap": {"low": 0, "high": 0.5}}, {}, "expected whole numbers"),
        ({"region": {"low": 1, "high": 2}}, {}, "only a number has a range"),
        ({"region": {"choices": [4]}}, {}, "space.region.choices is invalid: expected a list"),
        ({"drop_path": {"low": 0.2, "high": 0.2}}, {}, "expected less than high 0.2; got 0.2"),
        ({"drop_path": {"low": 0.0, "high": 0.2, "log": True}}, {}, "expected more than 0"),
        ({"drop_path": {"low": 0.0, "high": 1.0}}, {}, "with drop_path 1.0 is invalid"),
        ({"head": {"choices": ["linear"]}}, {}, "head linear has no region"),
        ({"batch_size": {"choices": [4, 3]}}, {"recipe": {"grad_accum_steps": 2}}, "does not divide"),
        ({"batch_size": {"low": 4, "high": 8}}, {}, "space.batch_size is invalid: .*Give choices"),
        ({"steps": {"choices": [4, 8]}}, {}, "expected at most steps 4; got 8"),
        (RATE, {"recipe": {"validate_every": None}}, "got None. Set it in the recipe"),
        (RATE, {"trials": 0}, "trials is invalid"),
        (RATE, {"variant": "region-4x"}, "did you mean 'region-4x4'"),
        (RATE, {"datasets": ["ade"]}, "search.datasets: 'ade' is not known"),
        (RATE, {"datasets": []}, "datasets is empty"),
        (RATE, {"sampler": "tpe"}, "allowed are random, optuna"),
        ({"seed": {"choices": [1]}}, {}, "'seed' is not known"),
        ({name: {"choices": [0.1] * 20} for name in ("drop_path", "weight_decay", "eps")}, {}, "has 8000"),
    ],
)
def test_an_invalid_search_is_refused(space: dict, keys: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolve(space, **keys)
