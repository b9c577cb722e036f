"""Which classes the mIoU of a result record is the mean of: those that occur in labels or predictions."""

from collections.abc import Iterable, Mapping
from typing import Any


def classes_present(results: Iterable[Mapping[str, Any]]) -> str | None:
    """Return how many classes the mIoU of result records counts, such as "1 of 2" or "9 to 10 of 11".

    Records without the IoU of every class are ignored; None if there are no others.
    """
    absent = _absent_classes(results)
    if not absent:
        return None
    number, counts = absent[0][1], sorted({number - len(names) for names, number in absent})
    span = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{span} of {number}"


def left_out_classes(results: Iterable[Mapping[str, Any]]) -> str | None:
    """Return which classes the mIoU leaves out, such as "mean over 1 of 2 classes; absent: object".

    None if it leaves none out in any record.
    """
    results = list(results)
    absent = [names for names, _ in _absent_classes(results)]
    everywhere = list(dict.fromkeys(name for names in absent for name in names))
    if not everywhere:
        return None
    where = "absent" if all(names == absent[0] for names in absent) else "absent in some runs"
    return f"mean over {classes_present(results)} classes; {where}: {', '.join(everywhere)}"


def _absent_classes(results: Iterable[Mapping[str, Any]]) -> list[tuple[list[str], int]]:
    """Return of each record the classes without an IoU, and the number of all classes."""
    columns = [(result.get("classes", ()), result.get("iou_per_class", ())) for result in results]
    pairs = [list(zip(*pair, strict=False)) for pair in columns]
    return [([name for name, iou in found if iou is None], len(found)) for found in pairs if found]
