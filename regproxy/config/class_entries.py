"""The classes of a data set as a profile writes them: label values, colours, or a CSV file of colours."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from regproxy.config.class_tables import Colour
from regproxy.config.dataset import root_folder
from regproxy.errors import ConfigError

_NAMES, _COLOURS = ("name", "class"), ("colour", "color")  # heads of the columns


def read_values(entry: object, where: str) -> dict[str, tuple[int, ...]]:
    """Return the label values of each class from `values: {road: 7, car: [26, 27]}`.

    Raises:
        ConfigError: not a mapping from class names to integers or lists of integers.
    """
    values = {}
    for name, given in _named(entry, "road: 7 or car: [26, 27]", where).items():
        listed = tuple(given) if isinstance(given, (list, tuple)) else (given,)
        if not listed or any(type(value) is not int for value in listed):
            raise ConfigError(
                f"{where}.{name} is invalid: expected an integer or a list of them; got {given!r}"
            )
        values[name] = listed
    return values


def read_colours(entry: object, where: str) -> dict[str, tuple[Colour, ...]]:
    """Return the colours of each class from `colours: {road: [128, 64, 128]}`; "#804080" and lists work too.

    Raises:
        ConfigError: not a mapping from class names to colours.
    """
    colours = {}
    for name, given in _named(entry, "road: [128, 64, 128]", where).items():
        several = isinstance(given, (list, tuple)) and given and not isinstance(given[0], int)
        colours[name] = tuple(_colour(one, f"{where}.{name}") for one in (given if several else (given,)))
    return colours


def read_colour_file(path: str, root: str, where: str) -> dict[str, tuple[Colour, ...]]:
    """Return the colour of each class from a CSV file with the columns name, r, g, b or name, colour.

    Args:
        path: relative to the root, otherwise to the working directory.
        root: of the data set.
        where: path of the setting for messages.

    Raises:
        ConfigError: the file is missing, lacks a column, repeats a class or has an invalid colour.
    """
    places = [root_folder(root) / path, Path(path).expanduser()]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        raise ConfigError(f"{where}: neither {places[0]} nor {places[1]} is a file. Correct the path.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{where}: {file} cannot be read ({reason}). Save it as UTF-8.") from None
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=head.count), skipinitialspace=True)
    columns = {str(name).strip().lower(): name for name in rows.fieldnames or ()}
    name_column = next((columns[key] for key in _NAMES if key in columns), None)
    colour_column = next((columns[key] for key in _COLOURS if key in columns), None)
    channels = [columns[key] for key in "rgb" if key in columns]
    if name_column is None or (colour_column is None and len(channels) < 3):
        raise ConfigError(
            f"{where}: {file} is invalid: expected the columns name, r, g, b or name, colour; "
            f"got {', '.join(columns) or 'none'}. Correct its first line."
        )
    colours: dict[str, tuple[Colour, ...]] = {}
    for row in rows:
        place, name = f"{where}: {file}, line {rows.line_num}", (row[name_column] or "").strip()
        if not name:
            if any(row.values()):
                raise ConfigError(f"{place} has no class name. Add one.")
            continue
        if name in colours:
            raise ConfigError(f"{place} repeats the class {name!r}. Keep one of the lines.")
        texts = [(row[column] or "").strip() for column in channels]
        numbers = [int(one) for one in texts if re.fullmatch(r"\d{1,3}", one)] if len(texts) == 3 else texts
        given = row[colour_column] if colour_column is not None else numbers
        if colour_column is None and len(numbers) < 3:
            given = ", ".join(texts)
        colours[name] = (_colour(given, place),)
    return colours


def in_class_order(entries: Mapping[str, tuple], classes: tuple[str, ...], where: str) -> tuple[tuple, ...]:
    """Return the entries in the order of the classes; () if there are none.

    Raises:
        ConfigError: a class has no entry.
    """
    missing = [name for name in classes if entries and name not in entries]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}: add each class, or remove it from classes")
    return tuple(entries[name] for name in classes) if entries else ()


def _named(entry: object, example: str, where: str) -> Mapping[str, object]:
    if not isinstance(entry, Mapping) or not entry:
        raise ConfigError(f"{where} is invalid: expected a mapping such as {example}; got {entry!r}")
    for name in entry:
        if not isinstance(name, str):
            raise ConfigError(
                f"{where} is invalid: expected class names as keys, such as {example}; got {name!r}. "
                "Write the class first, in quotes if it is a number or a word such as no."
            )
    return entry


def _colour(given: object, where: str) -> Colour:
    text = given.strip() if isinstance(given, str) else ""
    if re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return tuple(bytes.fromhex(text[1:]))
    is_list = isinstance(given, (list, tuple)) and len(given) == 3 and all(type(one) is int for one in given)
    if not is_list or not all(0 <= channel <= 255 for channel in given):
        got = list(given) if isinstance(given, tuple) else given
        raise ConfigError(f'{where} is invalid: expected [R, G, B] of 0..255 or "#rrggbb"; got {got!r}')
    return tuple(given)
