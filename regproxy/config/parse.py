"""Convert mappings to frozen dataclasses. An unknown key or a wrong type is an error."""

import dataclasses
import difflib
import math
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from regproxy.errors import ConfigError


def choose(name: object, allowed: typing.Iterable[str], what: str) -> str:
    """Return `name` if it is one of `allowed`, else raise ConfigError with the most similar allowed name.

    `what` begins the message, such as "profile" or "demo.yaml: recipe.schedule".
    """
    allowed = list(allowed)
    if name in allowed:
        return str(name)
    near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{what}: {name!r} is not known, allowed are {', '.join(allowed)}{hint}")


def parse(cls: type, mapping: object, where: str, **given: Any) -> Any:
    """Return an instance of the dataclass `cls`, after a recursive check of every key and type.

    Args:
        cls: a dataclass. Fields without a default must be in the mapping.
        mapping: content of a YAML or JSON file.
        where: path of the mapping for messages, such as "demo.yaml: recipe".
        given: values of fields that the mapping may not contain.

    Raises:
        ConfigError: unknown key, missing key or wrong type. The message names the key and what is allowed.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where} is invalid: expected a mapping of {cls.__name__} keys; got {mapping!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init and f.name not in given}
    for key in mapping:
        choose(key, fields, f"{where}: key")
    required = (f.name for f in fields.values() if f.default is f.default_factory is dataclasses.MISSING)
    missing = [name for name in required if name not in mapping]
    if missing:
        raise ConfigError(f"{where} is incomplete: add the keys {', '.join(missing)}")
    values = {key: convert(hints[key], value, f"{where}.{key}") for key, value in mapping.items()}
    try:
        return cls(**values, **given)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def convert(hint: Any, value: object, where: str) -> Any:
    """Return `value` in the type of a type hint: lists become tuples, mappings become dataclasses.

    Raises:
        ConfigError: the value does not have this type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    invalid = f"{where} is invalid: expected"
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):  # always X | None
        return None if value is None else convert(arguments[0], value, where)
    if origin is Literal:
        return choose(value, arguments, where)
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{invalid} a mapping; got {value!r}")
        return {str(key): convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise ConfigError(f"{invalid} a list; got {value!r}")
        hints = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(value) != len(hints):
            raise ConfigError(f"{invalid} {len(hints)} values; got {value!r}")
        return tuple(convert(hints[i], item, f"{where}[{i}]") for i, item in enumerate(value))
    if hint is float and type(value) is int and abs(value) <= sys.float_info.max:
        return float(value)
    if type(value) is not hint:
        remedy = ". Write it as 6.0e-5." if hint is float and isinstance(value, str) else ""
        raise ConfigError(f"{invalid} {hint.__name__}; got {type(value).__name__} {value!r}{remedy}")
    return value


def check_range(config: Any, *names: str, low: float, high: float = math.inf, above: bool = False) -> None:
    """Raise ConfigError unless every number in the named fields of a dataclass is in [low, high].

    A field is a number, a tuple of numbers or None. NaN and infinity are never allowed.
    With `above`, the interval is (low, high].
    """
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        for number in numbers:
            if number is None:
                continue
            inside = low < number <= high if above else low <= number <= high
            if not inside or math.isinf(number):
                expected = f"more than {low}" if above else f"at least {low}"
                expected += f" and at most {high}" if high < math.inf else ""
                got = list(value) if isinstance(value, tuple) else value
                raise ConfigError(f"{name} is invalid: expected {expected}; got {got}")
