"""Frozen, typed values that hold everything that can change a number of a run.

A `Variant` is one model and recipe on one data set, fully resolved. Profiles (see profile.py) declare
variants. A trial is a variant with a seed. Sizes are (height, width) in pixels unless a name says otherwise.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from regproxy.config.dataset import DataConfig
from regproxy.config.network import ModelConfig
from regproxy.config.parse import check_range, choose, parse
from regproxy.config.recipe import Recipe
from regproxy.errors import ConfigError

# The fingerprint leaves out the keys that have their default value, so that a new key retrains nothing.
# Raise this number when you change the default of a key: then what a missing key means changes.
_DEFAULTS_VERSION = 1
# Keys of data sets in run records before `splits`; they move no number.
_FORMER_KEYS = ("train_split", "val_split")
_MAX_RATIO = 32  # of a scale: a larger one is a typing error, and its image fits no memory


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a trained model is scored: by sliding windows over the resized image.

    With `multi_scale_ratios` it is scored a second time, averaged over all ratios, each also flipped.
    """

    scale: tuple[int, int]  # (long, short)
    window: tuple[int, int]  # (height, width) in pixels, like stride
    stride: tuple[int, int]
    multi_scale_ratios: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_range(self, "scale", "window", "stride", low=1)
        check_range(self, "multi_scale_ratios", low=0, high=_MAX_RATIO, above=True)
        if any(step > side for step, side in zip(self.stride, self.window, strict=True)):
            raise ConfigError(
                f"stride is invalid: expected at most the window {list(self.window)}, or pixels are skipped; "
                f"got {list(self.stride)}"
            )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model and recipe on one data set, fully resolved. A run record contains it."""

    name: str
    data: DataConfig
    model: ModelConfig
    recipe: Recipe
    evaluation: Evaluation

    def __post_init__(self) -> None:
        if self.recipe.region_loss != "none" and self.model.head != "regproxy":
            raise ConfigError(f"region_loss needs head regproxy: {self.name} has head {self.model.head}")
        for name in self.recipe.class_weights:
            choose(name, self.data.classes, f"class_weights of {self.name}")

    def to_dict(self) -> dict[str, Any]:
        """Return the variant as JSON values: mappings, lists and scalars. `from_dict` reads them."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_dict(cls, mapping: dict[str, Any]) -> "Variant":
        """Return the variant that `to_dict` wrote; raise ConfigError if this version cannot read it."""
        if isinstance(mapping, dict) and isinstance(mapping.get("data"), dict):
            data = {key: value for key, value in mapping["data"].items() if key not in _FORMER_KEYS}
            mapping = {**mapping, "data": data}
        return parse(cls, mapping, "variant")

    def fingerprint(self) -> str:
        """Return the SHA-256 of model, recipe and class names: all that a training needs from a variant.

        Name, evaluation and location of the data are not in it, nor keys that have their default value.
        """
        used = {
            "defaults": _DEFAULTS_VERSION,
            "model": _without_defaults(self.model),
            "recipe": _without_defaults(self.recipe),
            "classes": self.data.classes,
        }
        text = json.dumps(used, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _without_defaults(config: Any) -> dict[str, Any]:
    """Return the fields of a dataclass that differ from their defaults, as JSON values, at every depth."""
    values = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        if dataclasses.is_dataclass(value):
            values[field.name] = _without_defaults(value)
        elif value != default:
            values[field.name] = value
    return values
