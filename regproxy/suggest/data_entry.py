"""Describe a data set for a profile: which classes its labels have, and where its files lie."""

from collections.abc import Sequence
from typing import Any

from regproxy.errors import ConfigError
from regproxy.suggest.survey import Survey

Entry = list[tuple[str, Any, str]]  # key, value and comment of each line

VAL_SHARE = 0.2  # of images that are not divided into splits
_CONVENTIONAL_VOID = 255
_RARE = 0.25  # 255 is a void value if no larger share of the pixels has it
_MAX_GUESSED = 64  # classes that are named by us; more values are probably no classes


def describe_data(
    seen: Survey,
    root: str,
    *,
    classes: Sequence[str] = (),
    colours: str | None = None,
    void: Sequence[int] = (),
) -> Entry:
    """Return the lines of a data set's entry in a profile.

    Args:
        seen: what images and labels hold.
        root: the root folder as the profile names it.
        classes: names in the order of the label values; without them, values get names that can be edited.
        colours: path of a table with name, r, g, b of each class, for labels whose pixels are colours.
        void: label values that count nowhere.

    Raises:
        ConfigError: the classes do not fit the values in the labels.
    """
    entry: Entry = [("format", "folder", "images and labels of the same names"), ("root", root, "")]
    entry += [("images", seen.images, ""), ("labels", seen.labels, "")]
    if seen.label_suffix:
        entry.append(("label_suffix", seen.label_suffix, "what follows the name of the image"))
    entry += (
        _colour_lines(seen, classes, colours)
        if colours or seen.colours
        else _value_lines(seen, classes, void)
    )
    entry += _split_lines(seen)
    if seen.image_max is not None:
        high = next(2**bits - 1 for bits in (10, 12, 14, 16) if seen.image_max < 2**bits)
        comment = f"16-bit images with values up to {seen.image_max:,}: this range becomes 0..255"
        entry.append(("image_range", [0, high], comment))
    return entry


def _value_lines(seen: Survey, classes: Sequence[str], void: Sequence[int]) -> Entry:
    """Return classes, the values of each class if they are not 0, 1, ..., and void values."""
    pixels = seen.values.total()
    values = sorted(value for value in seen.values if value not in void)
    rare = seen.values[_CONVENTIONAL_VOID] <= _RARE * pixels
    if _CONVENTIONAL_VOID in values and rare and len(values) > (len(classes) or 2):
        values.remove(_CONVENTIONAL_VOID)
    if not values:
        raise ConfigError("the labels hold void values only. Give other labels or other --void values.")
    if not classes:
        if len(values) > _MAX_GUESSED:
            raise ConfigError(
                f"the labels hold {len(values)} values, too many to name: {listed(values)}. "
                "Give the names with --classes."
            )
        binary = len(values) == 2 and values[0] == 0
        classes = ("background", "object") if binary else [f"class-{value}" for value in values]
    own = _class_values(values, classes)
    entry: Entry = [("classes", list(classes), "names of the train ids 0, 1, ...; edit them as you like")]
    if list(own.values()) != list(range(len(classes))):
        entry.append(("values", own, "of each class in the label files"))
    counts_nowhere = sorted({*void} | ({_CONVENTIONAL_VOID} & seen.values.keys() - {*own.values()}))
    if counts_nowhere:
        entry.append(("void_labels", counts_nowhere, "values that count nowhere"))
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
        f"{len(classes)} classes do not fit the {len(values)} values in the labels: {listed(values)}. "
        f"{remedy}."
    )


def _colour_lines(seen: Survey, classes: Sequence[str], colours: str | None) -> Entry:
    """Return the classes by colour: the user's table, or the colours in the labels."""
    if colours:
        entry: Entry = [("colours", colours, "name, r, g, b of each class; also the palette of predictions")]
        return [("classes", list(classes), ""), *entry] if classes else entry
    found = [colour for colour, _ in sorted(seen.colours.items(), key=lambda item: -item[1])]
    if len(classes) not in (0, len(found)) or len(found) > _MAX_GUESSED:
        shown = listed(["#{:02x}{:02x}{:02x}".format(*colour) for colour in found])
        raise ConfigError(
            f"the labels hold {len(found)} colours: {shown}. "
            "Give a table of name,r,g,b of each class with --colours."
        )
    if classes:
        raise ConfigError(
            "the labels hold colours, so the order of --classes does not say which is which. "
            "Give a table of name,r,g,b of each class with --colours."
        )
    names = {"colour-{:02x}{:02x}{:02x}".format(*colour): list(colour) for colour in sorted(found)}
    return [("colours", names, "of each class in the labels; edit the names as you like")]


def _split_lines(seen: Survey) -> Entry:
    if not seen.splits:
        return [
            (
                "val_share",
                VAL_SHARE,
                "share of the images for validation, chosen by a hash of their names",
            )
        ]
    if "val" in seen.splits:
        return [("splits", seen.splits, "folders")]
    spare = seen.splits.get("test")
    if spare is None:
        raise ConfigError(
            f"{seen.images} has a folder of training images but none of validation images. Add a folder val, "
            "or put all images beside each other: a share of them then becomes the validation split."
        )
    comment = "no folder val: test is used while training, so its scores are no test scores"
    return [("splits", {"train": seen.splits["train"], "val": spare}, comment)]


def listed(values: Sequence[Any]) -> str:
    """Return the first twelve values as text."""
    return ", ".join(map(str, values[:12])) + (", ..." if len(values) > 12 else "")
