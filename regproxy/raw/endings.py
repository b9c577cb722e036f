"""How the names of images and labels end: ids without the endings, and endings that would pair them."""

import os
import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice, product

_SAMPLE, _LONGEST = 2_000, 24  # names that are compared, characters of an ending
_PAIRED = 0.9  # the share of the smaller set of names that the endings must pair
_LABELS = (0.3, 0.7)  # the share of the files of one folder that are labels
_LIKE_A_LABEL = re.compile(r"mask|label|lbl|seg|ann|gt|_l\.", re.IGNORECASE)


def ending_of(name: str, endings: Sequence[str]) -> str | None:
    """Return the first of the endings that a name has, in any case; None if it has none."""
    lower = name.lower()
    return next((end for end in endings if lower.endswith(end.lower())), None)


def pairing_endings(images: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    """Return the keys `image_suffix` and `label_suffix` that would pair files, as far as they are needed.

    The endings are the shortest ones without which the names are equal. Those that begin with a separator
    such as _ are preferred. {} if there are none.

    Args:
        images, labels: file names, with / between folders and with their suffixes.
    """
    names = {"image_suffix": sorted(images)[:_SAMPLE], "label_suffix": sorted(labels)[:_SAMPLE]}
    if not all(names.values()):
        return {}
    stems = [{os.path.splitext(name)[0] for name in found} for found in names.values()]
    needed = max(1, _PAIRED * min(map(len, stems)))
    for pair in sorted(product(*map(_shared_endings, stems)), key=_rank):
        left, right = (
            {stem.removesuffix(end) for stem in found} for found, end in zip(stems, pair, strict=True)
        )
        if len(left & right) >= needed:
            break
    else:
        return {}
    keys = {}
    for (key, found), end in zip(names.items(), pair, strict=True):
        suffixes = {os.path.splitext(name)[1] for name in found}
        if end and len(suffixes) == 1:
            keys[key] = end + suffixes.pop()
    return keys


def endings_in_one_folder(names: Sequence[str], label_suffixes: Sequence[str]) -> dict[str, str]:
    """Return the keys `label_suffix` and, if needed, `image_suffix` of images and labels in one folder.

    An ending is a suffix such as .png, or begins with a separator, such as _mask.png. {} if none pairs the
    files that have it with the others, or if several do and not exactly one is like that of a label.
    """
    names = sorted(names)[:_SAMPLE]
    counts = Counter(end for name in names for end in _ends(name, label_suffixes))
    found = {}
    for end, count in counts.items():
        if _LABELS[0] * len(names) <= count <= _LABELS[1] * len(names):
            labels = [name for name in names if name.endswith(end)]
            images = [name for name in names if not name.endswith(end)]
            stems = {name.removesuffix(end) for name in labels}
            equal = len(stems & {os.path.splitext(name)[0] for name in images}) >= _PAIRED * len(stems)
            keys = {} if equal else pairing_endings(images, labels)
            if equal or keys.get("label_suffix") == end:
                found[end] = keys | {"label_suffix": end}
    if len(found) > 1:
        found = {end: keys for end, keys in found.items() if _LIKE_A_LABEL.search(end)}
    return next(iter(found.values())) if len(found) == 1 else {}


def _ends(name: str, suffixes: Sequence[str]) -> list[str]:
    """Return the suffix of a file name, and what begins with one of its separators; [] for another suffix."""
    base = name.rpartition("/")[2]
    suffix = os.path.splitext(base)[1]
    if suffix.lower() not in suffixes:
        return []
    return [suffix, *(base[match.start() :] for match in re.finditer(r"[_. -](?=[^.]*\.)", base))]


def _rank(pair: tuple[str, str]) -> tuple[int, int]:
    """Return the order in which pairs of endings are tried: separators first, then short ones."""
    return sum(end[:1].isalnum() for end in pair), len("".join(pair))


def _shared_endings(stems: set[str]) -> list[str]:
    """Return the endings that all names share, from none to the longest."""
    endings = [""]
    for characters in islice(zip(*(reversed(stem) for stem in stems), strict=False), _LONGEST):
        if len(set(characters)) > 1 or characters[0] == "/":
            break
        endings.append(characters[0] + endings[-1])
    return endings
