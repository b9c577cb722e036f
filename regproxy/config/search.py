"""A search over training settings: the key `search` of a profile."""

import dataclasses
import itertools
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from regproxy.config.network import ModelConfig
from regproxy.config.parse import check_range, choose, convert
from regproxy.config.recipe import Recipe
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError

# An architecture sets several keys at once, pre-training chooses its own weights, and validations after
# different steps cannot be compared.
_NOT_SEARCHED = ("arch", "backbone", "pretrain", "weights", "validate_every")
_ONLY_CHOICES = ("batch_size", "grad_accum_steps")  # within a range are numbers that do not divide each other
_MAX_CORNERS = 4096  # each is built and checked; a second or two


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """The values that a search may give one setting: a range, or a list of choices.

    `low` and `high` are both allowed values. With `log`, the logarithm of the value is drawn evenly instead
    of the value.
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    choices: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        bounds = [bound for bound in (self.low, self.high) if bound is not None]
        if len(bounds) != (0 if self.choices else 2):
            raise ConfigError("expected either low and high, or at least one of choices")
        if self.choices:
            if self.log:
                raise ConfigError("log is invalid: choices have no scale. Remove it or give low and high.")
            return
        if not all(map(math.isfinite, bounds)) or self.low >= self.high:
            raise ConfigError(f"low is invalid: expected less than high {self.high}; got {self.low}")
        if self.log and self.low <= 0:
            raise ConfigError(f"low is invalid: expected more than 0 because of log; got {self.low}")

    @property
    def ends(self) -> tuple[Any, ...]:
        """The extreme values: all choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    @property
    def is_integer(self) -> bool:
        """Whether this is a range of whole numbers."""
        return isinstance(self.low, int)

    def typed(self, hint: Any, where: str) -> "Dimension":
        """Return the dimension with values of a setting's type; raise ConfigError if they do not have it."""
        if self.choices:
            return dataclasses.replace(
                self, choices=tuple(convert(hint, value, f"{where}.choices") for value in self.choices)
            )
        kinds = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
        if float in kinds:
            return dataclasses.replace(self, low=float(self.low), high=float(self.high))
        if int not in kinds:
            raise ConfigError(f"{where} is invalid: only a number has a range. Give choices.")
        if self.low % 1 or self.high % 1:
            raise ConfigError(f"{where} is invalid: expected whole numbers; got {self.low} and {self.high}")
        return dataclasses.replace(self, low=int(self.low), high=int(self.high))


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search over settings of a variant, on each of its data sets separately.

    Attributes:
        variant: the starting point; its other settings stay as they are.
        space: the values of each searched setting, a key of the variant's recipe or model.
        trials: number of trainings on each data set.
        datasets: the data sets to search on; None for all of the variant.
        seed: decides the drawn values; every trial also trains with this seed.
        sampler: `random` draws every trial independently. `optuna` draws around good earlier trials (TPE).
        early_stopping: stop trials whose validation mIoU is low among all trials at the same step (ASHA).
    """

    variant: str
    space: dict[str, Dimension]
    trials: int
    datasets: tuple[str, ...] | None = None
    seed: int = 0
    sampler: Literal["random", "optuna"] = "random"
    early_stopping: bool = False

    def __post_init__(self) -> None:
        check_range(self, "trials", low=1)
        check_range(self, "seed", low=0)
        if not self.space:
            raise ConfigError("space is empty: give at least one setting to search")
        if self.datasets == ():
            raise ConfigError("datasets is empty: name one, or remove it to search on all")
        hints = {**typing.get_type_hints(ModelConfig), **typing.get_type_hints(Recipe)}
        known = [key for key in hints if key not in _NOT_SEARCHED]
        space = {
            key: dimension.typed(hints[choose(key, known, "key of space")], f"space.{key}")
            for key, dimension in self.space.items()
        }
        object.__setattr__(self, "space", space)
        for key in _ONLY_CHOICES:
            if key in space and not space[key].choices:
                raise ConfigError(
                    f"space.{key} is invalid: a range has values that do not divide the batch. Give choices."
                )
        if (count := math.prod(len(dimension.ends) for dimension in space.values())) > _MAX_CORNERS:
            raise ConfigError(
                f"space has {count} combinations of choices and ends of ranges, expected at most "
                f"{_MAX_CORNERS}: search over fewer settings or choices"
            )

    def starts(self, variants: Iterable[Variant]) -> list[Variant]:
        """Return the searched variant on each data set to search on."""
        found = [variant for variant in variants if variant.name == self.variant]
        return [variant for variant in found if self.datasets is None or variant.data.name in self.datasets]

    def corners(self, variant: Variant) -> list[Variant]:
        """Return the variant with each combination of choices and ends of ranges.

        Raises:
            ConfigError: a combination is invalid.
        """
        ends = (dimension.ends for dimension in self.space.values())
        return [
            with_values(variant, dict(zip(self.space, values, strict=True)))
            for values in itertools.product(*ends)
        ]

    def check(self, variants: Iterable[Variant], where: str) -> list[Variant]:
        """Raise ConfigError unless all trials are valid; return the variant of each corner of the space."""
        variants = list(variants)
        choose(self.variant, dict.fromkeys(variant.name for variant in variants), f"{where}: search.variant")
        on = [variant.data.name for variant in variants if variant.name == self.variant]
        for dataset in self.datasets or ():
            choose(dataset, on, f"{where}: search.datasets")
        corners = []
        for start in self.starts(variants):
            place = f"{where}: search on {start.data.name}"
            try:
                corners += self.corners(start)
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from None
            for corner in corners:
                every, steps = corner.recipe.validate_every, corner.recipe.steps
                if every is None or every > steps:
                    raise ConfigError(
                        f"{place}: validate_every is invalid: a search compares the validations of trials, "
                        f"so expected at most steps {steps}; got {every}. Set it in the recipe."
                    )
        return corners


def with_values(variant: Variant, values: Mapping[str, Any]) -> Variant:
    """Return a variant with other values of some keys of its model or recipe.

    Raises:
        ConfigError: a value has a wrong type, or the values do not fit together; names them all.
    """
    content = variant.to_dict()
    for key, value in values.items():
        content["model" if key in content["model"] else "recipe"][key] = value
    try:
        return Variant.from_dict(content)
    except ConfigError as error:
        text = ", ".join(f"{key} {value}" for key, value in values.items())
        raise ConfigError(f"variant {variant.name} with {text} is invalid: {error}") from None
