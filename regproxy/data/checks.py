"""Mistakes in a data set that no single file shows but its counts do: one sentence each, with the remedy."""

from collections.abc import Mapping, Sequence

import yaml

from regproxy.config.dataset import IGNORE_LABEL, DataConfig
from regproxy.config.formats import FORMATS
from regproxy.data.label_values import describe_values, doubtful_labels, misread_labels
from regproxy.data.labels import label_table
from regproxy.data.statistics import SplitCounts, percent

Place = tuple[str, str]  # a split and the id of an image
_MOSTLY = 0.5  # share of the pixels
_SHOWN = 8  # names in one sentence


def find_mistakes(
    data: DataConfig,
    splits: Mapping[str, SplitCounts],
    shared: Sequence[tuple[Place, Place]] = (),
    *,
    files_are_valid: bool = True,
) -> tuple[list[str], list[str]]:
    """Return the errors, because of which a data set is refused, and the warnings.

    Args:
        data: the data set.
        splits: the counts of each split; the first one is trained on.
        shared: images whose files are equal in two splits.
        files_are_valid: whether every file could be used; without it, only label values are judged, because
            the counts are incomplete.
    """
    if not files_are_valid:
        misread = misread_labels(data, splits)
        return ([misread] if misread else []), []
    void = [_void_error(data, name, counts) for name, counts in splits.items() if not counts.labelled]
    misread = misread_labels(data, {name: counts for name, counts in splits.items() if counts.labelled})
    if void or misread:
        return [*void, *([misread] if misread else [])], []
    errors, warnings = _absent_classes(data, splits)
    for name, counts in splits.items():
        if counts.void_share > _MOSTLY:
            warnings.append(
                f"{percent(counts.void_share)} of the pixels of {name} are void"
                f"{_void_values(data, counts)} and count nowhere. Check void_labels and classes."
            )
    warnings += doubtful_labels(data, splits)
    if data.num_classes == 1:
        warnings.append(
            f"class {data.classes[0]!r} is the only one, so every prediction is right and the mIoU is 100 %. "
            "Add a class for the other pixels, such as background."
        )
    if shared:
        warnings.append(_shared_images(shared))
    return errors, warnings


def _absent_classes(data: DataConfig, splits: Mapping[str, SplitCounts]) -> tuple[list[str], list[str]]:
    """Return errors and warnings about classes without a pixel in a split."""
    (train_name, train), *others = splits.items()
    partial = bool(FORMATS[data.format].classes) and data.allow_partial
    absent = [k for k in range(data.num_classes) if not train.pixels[k]]
    refused = [] if partial else [k for k in absent if data.classes[k] not in data.absent_classes]
    errors, warnings = [], []
    if refused:
        names = yaml.safe_dump(
            [data.classes[k] for k in refused], default_flow_style=True, width=10**6
        ).strip()
        errors.append(
            f"{_classes(data, refused)} no pixel in {train_name}{_where_else(others, refused)}, so no "
            f"network can learn {_it(refused)}. {_held(train_name, train)}Correct labels or classes, or "
            f"accept it in the profile's data set: absent_classes: {names}."
        )
    if partial and absent:
        warnings.append(
            f"{_classes(data, absent)} no pixel in {train_name}, so no network can learn {_it(absent)}."
        )
    for name, counts in others:
        unlearned = [k for k in absent if counts.pixels[k] and k not in refused]
        if unlearned:
            warnings.append(
                f"{_classes(data, unlearned)} pixels in {name} but not in {train_name}, so the IoU will be "
                f"0. Move some of the images to {train_name}."
            )
        missing = [k for k in range(data.num_classes) if k not in absent and not counts.pixels[k]]
        if missing:
            warnings.append(
                f"{_classes(data, missing)} no pixel in {name}: its mIoU leaves {_it(missing)} out, but "
                f"counts an IoU of 0 if a network predicts {_it(missing)} there."
            )
    return errors, warnings


def _where_else(others: Sequence[tuple[str, SplitCounts]], refused: Sequence[int]) -> str:
    found = [name for name, counts in others if any(counts.pixels[k] for k in refused)]
    return f", but pixels in {' and '.join(found)}" if found else ""


def _void_error(data: DataConfig, name: str, counts: SplitCounts) -> str:
    use = "Nothing can be learned from it" if name == "train" else "Nothing can be scored on it"
    return (
        f"no pixel of {name} is labelled: its {counts.images} labels hold only void"
        f"{_void_values(data, counts)}. {use}. Replace the labels, or correct void_labels and classes."
    )


def _void_values(data: DataConfig, counts: SplitCounts) -> str:
    """Return such as " (label values 11 and 255)"; nothing for labels in colours."""
    table = label_table(data)
    values = [value for value in counts.values if table[value] == IGNORE_LABEL]
    return f" (label value{'s' * (len(values) > 1)} {describe_values(values)})" if values else ""


def _held(name: str, counts: SplitCounts) -> str:
    """Return such as "The labels of train hold 0..2. "; nothing for labels in colours."""
    return f"The labels of {name} hold {describe_values(counts.values)}. " if counts.values else ""


def _shared_images(shared: Sequence[tuple[Place, Place]]) -> str:
    shown = [f"{first} {one!r} is {second} {other!r}" for (first, one), (second, other) in shared[:3]]
    more = f" and {len(shared) - 3} more" if len(shared) > 3 else ""
    files = "1 image file is" if len(shared) == 1 else f"{len(shared)} image files are"
    return (
        f"{files} in two splits, which makes the scores too high: {', '.join(shown)}{more}. "
        "Keep each in one split."
    )


def _classes(data: DataConfig, train_ids: Sequence[int]) -> str:
    """Return such as "class 'car' has" or "2 classes ('car', 'sky') have"."""
    names = [repr(data.classes[k]) for k in train_ids]
    if len(names) == 1:
        return f"class {names[0]} has"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} classes ({', '.join(names[:_SHOWN])}{more}) have"


def _it(train_ids: Sequence[int]) -> str:
    return "it" if len(train_ids) == 1 else "them"
