"""Describe a data set for a profile: which classes its labels have, and where its files lie."""

from collections.abc import Mapping, Sequence
from typing import Any

from regproxy.config.class_entries import read_colour_file
from regproxy.config.class_tables import Colour
from regproxy.config.dataset import MAX_VALUE
from regproxy.errors import ConfigError
from regproxy.suggest.survey import Survey

Table = Mapping[str, tuple[Colour, ...]]
Entry = list[tuple[str, Any, str]]  # key, value and comment of each line

_CONVENTIONAL_VOID = 255
_RARE = 0.25  # 255 is a void value if no larger share of the pixels has it
_NO_CLASS = ((0, 0, 0), (255, 255, 255))  # colours that are void if a table of classes lacks them
_MAX_GUESSED = 64  # classes that are named by us; more values are probably no classes


def describe_data(
    seen: Survey,
    root: str,
    *,
    classes: Sequence[str] = (),
    colours: str | None = None,
    void: Sequence[int | Colour] = (),
) -> Entry:
    """Return the lines of a data set's entry in a profile.

    Args:
        seen: what images and labels hold.
        root: the root folder as the profile names it.
        classes: names in the order of the label values; without them, values get names that can be edited.
        colours: path of a table with name, r, g, b of each class, instead of `classes`.
        void: label values and colours that count nowhere.

    Raises:
        ConfigError: the classes do not fit the values or colours in the labels.
    """
    entry: Entry = [("format", "folder", "images and labels of the same names"), ("root", root, "")]
    entry += [("images", seen.images, ""), ("labels", seen.labels, "")]
    entry += [(key, suffix, "how file names end") for key, suffix in seen.suffixes.items()]
    table = read_colour_file(colours, root, "--colours") if colours else {}
    if colours:
        entry.append(("colours", colours, "name, r, g, b of each class; also the palette of predictions"))
    unfit = [one for one in void if isinstance(one, int) == bool(seen.colours)]
    if unfit:
        held = "colours: give colours such as #e0e0c0" if seen.colours else "values: give values such as 255"
        raise ConfigError(f"--void does not fit, because the labels hold {held}.")
    if seen.colours:
        if classes:
            raise ConfigError(
                "the labels hold colours, so the order of --classes does not say which is which. "
                "Give a table of name,r,g,b of each class with --colours."
            )
        entry += _colour_lines(seen, table, void)
    else:
        entry += _value_lines(seen, classes or list(table), void)
    entry += _split_lines(seen)
    if seen.image_range is not None:
        low, high = seen.image_range
        comment = f"images with values {low:,} to {high:,}: this range becomes 0..255"
        entry.append(("image_range", _full_range(low, high), comment))
    return entry


def _full_range(low: float, high: float) -> list[float]:
    """Return the range of the sensor or format that values from low to high probably have."""
    if low < 0 or high >= 2**16:
        return [low, max(high, low + 1)]
    if isinstance(high, float) and high <= 255:
        return [0, 1 if high <= 1 else 255]
    return [0, next(2**bits - 1 for bits in (10, 12, 14, 16) if high < 2**bits)]


def _value_lines(seen: Survey, classes: Sequence[str], void: Sequence[int]) -> Entry:
    """Return classes, the values of each class if they are not 0, 1, ..., and void values."""
    pixels = seen.values.total()
    values = sorted(value for value in seen.values if value not in void)
    rare = seen.values[_CONVENTIONAL_VOID] <= _RARE * pixels
    comment = "values that count nowhere"
    if _CONVENTIONAL_VOID in values and rare and len(values) > max(len(classes), 2):
        values.remove(_CONVENTIONAL_VOID)
        share = seen.values[_CONVENTIONAL_VOID] / pixels
        comment += f"; {share:.2%} of the pixels are 255. If that is a class, name all classes with --classes"
    if not values:
        raise ConfigError("the labels hold void values only. Give other labels or other --void values.")
    if not classes:
        if len(values) == 1:
            raise ConfigError(
                f"the labels hold only the value {values[0]}, so there is nothing to tell apart. "
                "Give labels of several classes, or the names of all classes with --classes."
            )
        if len(values) > _MAX_GUESSED:
            raise ConfigError(
                f"the labels hold {len(values):,} values, too many to name: {listed(values)}. If they are "
                "ids of instances, export ids of classes; otherwise give the names with --classes."
            )
        binary = len(values) == 2 and values[0] == 0
        classes = ("background", "object") if binary else [f"class-{value}" for value in values]
    if not set(values) <= set(range(MAX_VALUE + 1)):
        raise ConfigError(
            f"the labels hold values from {values[0]:,} to {values[-1]:,}: expected 0..{MAX_VALUE:,}. "
            "Renumber the labels."
        )
    own = _class_values(values, classes)
    entry: Entry = [("classes", list(classes), "names of the train ids 0, 1, ...; edit them as you like")]
    if list(own.values()) != list(range(len(classes))):
        entry.append(("values", own, "of each class in the label files"))
    counts_nowhere = sorted({*void} | ({_CONVENTIONAL_VOID} & seen.values.keys() - {*own.values()}))
    if counts_nowhere:
        entry.append(("void_labels", counts_nowhere, comment))
    return entry


def _class_values(values: Sequence[int], classes: Sequence[str]) -> dict[str, int]:
    """Return the label value of each class: 0, 1, ... if that covers the values, else the values in order."""
    if set(values) <= set(range(len(classes))):
        return dict(zip(classes, range(len(classes)), strict=True))
    if len(values) == len(classes):
        return dict(zip(classes, values, strict=True))
    if set(values) <= set(range(1, len(classes) + 1)):
        return dict(zip(classes, range(1, len(classes) + 1), strict=True))
    remedy = "Give a name for each, or list the values that are no class with --void"
    if values[0] == 0 and values == list(range(len(classes) + 1)):
        remedy = f"If 0 is no class add --void 0, if {values[-1]} is none add --void {values[-1]}"
    raise ConfigError(
        f"the number of classes, {len(classes)}, does not fit the {len(values):,} values in the labels: "
        f"{listed(values)}. "
        f"{remedy}."
    )


def _colour_lines(seen: Survey, table: Table, void: Sequence[Colour]) -> Entry:
    """Return void colours, and without a table the colours in the labels as classes."""
    known = {colour for colours in table.values() for colour in colours}
    unknown = {colour: pixels for colour, pixels in seen.colours.items() if colour not in {*known, *void}}
    if table:
        shares = {colour: pixels / seen.colours.total() for colour, pixels in unknown.items()}
        missing = {colour: share for colour, share in shares.items() if colour not in _NO_CLASS}
        if missing:
            shown = listed(
                [f"{_hex(colour)} ({share:.2%} of the pixels)" for colour, share in missing.items()]
            )
            raise ConfigError(
                f"the labels hold colours that the table of classes lacks: {shown}. "
                f"Add them to the table, or give those that count nowhere with --void."
            )
        void = [*void, *unknown]
    elif len(unknown) > _MAX_GUESSED:
        shown = listed([_hex(colour) for colour in sorted(unknown)])
        raise ConfigError(
            f"the labels hold {len(unknown)} colours: {shown}. "
            "Give a table of name,r,g,b of each class with --colours."
        )
    entry: Entry = []
    if not table:
        names = {f"colour-{_hex(colour)[1:]}": list(colour) for colour in sorted(unknown)}
        entry.append(("colours", names, "of each class in the labels; edit the names as you like"))
    if void:
        entry.append(("void_colours", [list(colour) for colour in void], "colours that count nowhere"))
    return entry


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _split_lines(seen: Survey) -> Entry:
    places = seen.splits.places
    if not places:
        comment = "of the images, chosen by a hash of their names, for validation"
        return [("val_share", seen.splits.val_share, comment)]
    if "val" in places:
        return [("splits", places, "folders, or lists of images")]
    spare = places.get("test")
    if spare is None:
        raise ConfigError(
            f"{seen.images} has a folder of training images but none of validation images. Add a folder val, "
            "or put all images beside each other: a share of them then becomes the validation split."
        )
    comment = "no folder val: test is used while training, so its scores are no test scores"
    return [("splits", {"train": places["train"], "val": spare}, comment)]


def listed(values: Sequence[Any]) -> str:
    """Return the first twelve values as text."""
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
