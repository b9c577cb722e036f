"""Label values that seem to mean something else than the data set's description says."""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import yaml

from regproxy.config.dataset import IGNORE_LABEL, DataConfig
from regproxy.config.formats import FORMATS
from regproxy.data.labels import value_ranges
from regproxy.data.statistics import SplitCounts, percent

_MOSTLY, _OFTEN, _BORDER = (
    0.5,
    0.2,
    0.1,
)  # shares of the pixels; borders of objects have less than the last one
_UNUSUAL = 0.1  # share of the labels
_SHOWN = 8  # classes in a remedy


def misread_labels(data: DataConfig, splits: Mapping[str, SplitCounts]) -> str | None:
    """Return a sentence about label values that would be misread, with the remedy; None if there are none.

    255 is void in a folder data set. If the data set does not list it and it seems to be a class, that is an
    error too: every labelling tool can export a mask of 0 and 255.

    Args:
        data: the data set; the label values of an official format are fixed, those of a folder are 0, 1, ...
        splits: the counts of each split, those of files with unknown values too.
    """
    found = {value for counts in splits.values() for value in counts.values}
    if FORMATS[data.format].values:
        return _renumbered(data, found)
    found -= set(data.void_labels)
    others, expected = found - {IGNORE_LABEL}, _class_values(data)
    if not others:
        return None
    if others - expected:
        return _unknown_values(data, found, others)
    unlisted = IGNORE_LABEL in found - expected
    return _void_that_is_a_class(data, found, splits) if unlisted else None


def doubtful_labels(data: DataConfig, splits: Mapping[str, SplitCounts]) -> list[str]:
    """Return a warning for each thing about the label values that may be a mistake."""
    official = FORMATS[data.format]
    if official.values:
        found = {value for counts in splits.values() for value in counts.values} - {IGNORE_LABEL}
        classes = [value for value, name in official.values.items() if name is not None]
        if not min(classes) or max(found) >= len(classes) or max(classes) <= len(classes):
            return []
        return [
            f"labels hold only {describe_values(found)}, so they may be train ids, which start at 0. Format "
            f"{data.format} expects the ids of the original label files, {describe_values(classes)}."
        ]
    if IGNORE_LABEL in _class_values(data).union(data.void_labels):
        return []
    warnings = [
        f"{counts.binary_labels} labels of {name} hold only 255 and one other value, so 255 may be a class "
        "there. Export all labels in the same way, or confirm that 255 is void with void_labels: [255]."
        for name, counts in splits.items()
        if counts.binary_labels > _UNUSUAL * counts.images
    ]
    return warnings + [
        f"{percent(share)} of the pixels of {name} have the label value 255 and count as void. Confirm it "
        "with void_labels: [255], or list 255 in values if it is a class."
        for name, counts in splits.items()
        if (share := _share_of_255(counts)) > _OFTEN
    ]


def describe_values(values: Iterable[int]) -> str:
    """Return label values as text such as "0..4, 7 and 255"."""
    head, comma, last = value_ranges(np.array(sorted(values), np.int64)).rpartition(", ")
    return f"{head} and {last}" if comma else last


def _class_values(data: DataConfig) -> set[int]:
    """Return the label values of the classes of a folder data set."""
    return {value for values in data.values for value in values} or set(range(data.num_classes))


def _renumbered(data: DataConfig, found: Collection[int]) -> str | None:
    values = FORMATS[data.format].values
    if IGNORE_LABEL not in found or IGNORE_LABEL in (*values, *data.void_labels):
        return None
    return (
        f"labels hold 255, which original {data.format} labels do not: they were probably renumbered from 0 "
        "for another program. Use the original label files."
    )


def _unknown_values(data: DataConfig, found: Collection[int], others: Collection[int]) -> str | None:
    """Return a sentence about values of no class, if they suggest which value each class has."""
    number, expected = data.num_classes, describe_values(_class_values(data))
    shifted = _remedy(data, range(1, number + 1))
    if max(others) == number and not data.values:
        if 0 not in others:
            return f"labels hold {describe_values(found)}, so they count from 1, not from 0. {shifted}"
        return (
            f"labels hold {describe_values(found)}, but {number} classes have the values {expected}. "
            f"Add the missing name to classes; or, if 0 is void, set void_labels: [0]. {shifted}"
        )
    values = next((values for values in (found, others) if len(values) == number), None)
    if values is None:
        return None
    return (
        f"labels hold only {describe_values(values)}, but {number} classes have the values {expected}. "
        f"{_remedy(data, sorted(values))}"
    )


def _void_that_is_a_class(
    data: DataConfig, found: Collection[int], splits: Mapping[str, SplitCounts]
) -> str | None:
    """Return a sentence if 255, which is not listed, seems to be a class."""
    ending, number = "If 255 is void, set void_labels: [255].", data.num_classes
    pixels = sum(counts.values.total() for counts in splits.values())
    rare = sum(counts.values[IGNORE_LABEL] for counts in splits.values()) < _BORDER * pixels
    if len(found) == number and (number == 2 or not rare):
        return f"labels hold only {describe_values(found)}. {_remedy(data, sorted(found))} {ending}"
    for name, counts in splits.items():
        values = set(counts.values) - set(data.void_labels)
        if IGNORE_LABEL in values and len(values) == 2:
            remedy = (
                f"If 255 is class {data.classes[1]!r}, list it in values."
                if number == 2
                else "If it is a class, set classes: [background, object] and values: "
                "{background: 0, object: 255}."
            )
            return f"labels of {name} hold only {describe_values(values)}. {remedy} {ending}"
        if (share := _share_of_255(counts)) > _MOSTLY:
            return (
                f"{percent(share)} of the pixels of {name} have the label value 255. If it is a class, "
                f"list it in values. {ending}"
            )
    return None


def _share_of_255(counts: SplitCounts) -> float:
    return counts.values[IGNORE_LABEL] / max(counts.values.total(), 1)


def _remedy(data: DataConfig, values: Iterable[int]) -> str:
    """Return the YAML that gives every class its label value; it is shortened for many classes."""
    pairs = list(zip(data.classes, values, strict=True))
    text = yaml.safe_dump(dict(pairs[:_SHOWN]), default_flow_style=True, sort_keys=False, width=10**6).strip()
    return f"Set values: {text if len(pairs) <= _SHOWN else text[:-1] + ', ...}'}."
