"""How the names of images and labels end: ids without the endings, and endings that would pair them."""

import os
from collections.abc import Sequence
from itertools import islice, product

_SAMPLE, _LONGEST = 2_000, 24  # names that are compared, characters of an ending
_PAIRED = 0.9  # the share of the smaller set of names that the endings must pair


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
