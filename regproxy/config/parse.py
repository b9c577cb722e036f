"""Mappings to frozen dataclasses, strictly: an unknown key or a wrong type is an error, never a default."""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from regproxy.errors import ConfigError


def choose(name: object, allowed: typing.Iterable[str], what: str) -> str:
    """Returns `name` if it is one of `allowed`; raises ConfigError naming the nearest allowed one."""
    allowed = list(allowed)
    if name in allowed:
        return str(name)
    near = difflib.get_close_matches(str(name), allowed, n=1, cutoff=0.4)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ConfigError(f"{what}: {name!r} is not known, allowed are {', '.join(allowed)}{hint}")


def parse(cls: type, mapping: object, where: str) -> Any:
    """Builds the dataclass `cls` from a mapping, checking every key and type recursively.

    Args:
        cls: a dataclass; fields without a default must be present in the mapping.
        mapping: what YAML or JSON gave.
        where: path of the mapping for messages, such as "demo.yaml: recipe".

    Raises:
        ConfigError: unknown key, missing key or wrong type, naming the key and what is allowed.
    """
    if not isinstance(mapping, Mapping):
        raise ConfigError(f"{where}: expected a mapping of {cls.__name__} keys, got {mapping!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    for key in mapping:
        choose(key, fields, f"{where}: key")
    required = [
        name
        for name, field in fields.items()
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    missing = [name for name in required if name not in mapping]
    if missing:
        raise ConfigError(f"{where}: missing {', '.join(missing)}; every {cls.__name__} needs it")
    values = {key: convert(hints[key], value, f"{where}.{key}") for key, value in mapping.items()}
    try:
        return cls(**values)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from None


def convert(hint: Any, value: object, where: str) -> Any:
    """Checks `value` against a type hint and returns it in the hint's own type (lists become tuples)."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return value
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return convert(inner, value, where)
    if origin is Literal:
        return choose(value, arguments, where)
    if origin is tuple:
        return _convert_tuple(arguments, value, where)
    if origin is dict:
        return _convert_mapping(arguments[1], value, where)
    if dataclasses.is_dataclass(hint):
        return parse(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_mapping(hint: Any, value: object, where: str) -> dict:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected a mapping, got {value!r}")
    return {str(key): convert(hint, item, f"{where}.{key}") for key, item in value.items()}


def _convert_tuple(arguments: tuple, value: object, where: str) -> tuple:
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{where}: expected a list, got {value!r}")
    if arguments[-1] is Ellipsis:
        arguments = (arguments[0],) * len(value)
    if len(value) != len(arguments):
        raise ConfigError(f"{where}: expected {len(arguments)} values, got {value!r}")
    pairs = enumerate(zip(arguments, value, strict=True))
    return tuple(convert(hint, item, f"{where}[{index}]") for index, (hint, item) in pairs)


def _convert_scalar(hint: type, value: object, where: str) -> Any:
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        hint_text = ", write it as 6.0e-5" if hint is float and isinstance(value, str) else ""
        got = f"{type(value).__name__} {value!r}"
        raise ConfigError(f"{where}: expected {hint.__name__}, got {got}{hint_text}")
    return value


def check_range(config: Any, *names: str, low: float, high: float = math.inf) -> None:
    """Raises ConfigError unless the named fields, numbers, None or tuples of numbers, lie in a range."""
    for name in names:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(
            low <= number <= high and abs(number) < math.inf for number in numbers if number is not None
        ):
            shown = list(value) if isinstance(value, tuple) else value
            allowed = f"{low} or more" if high == math.inf else f"between {low} and {high}"
            raise ConfigError(f"{name} {shown} is not allowed, it must be {allowed}")
