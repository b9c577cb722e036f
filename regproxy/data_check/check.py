"""Check a raw data set without preparing it: a report of its statistics and mistakes, and a contact sheet."""

from collections.abc import Callable
from pathlib import Path

from regproxy.config.dataset import DataConfig
from regproxy.data.label_values import describe_values
from regproxy.data.scan import Scan, scan
from regproxy.data.statistics import percent
from regproxy.data_check.contact_sheet import draw_contact_sheet
from regproxy.report.classes import class_table
from regproxy.report.layout import NO_VALUE, Column, Document, Picture, Section, TextTable
from regproxy.report.page import page
from regproxy.storage.atomic import atomic_folder

PAGE = "check.html"
_SHEET = "contact-sheet.png"
_SHOWN_PROBLEMS = 100


def check_data_set(
    data: DataConfig,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Document, bool]:
    """Check every file of a raw data set; write check.html and contact-sheet.png to the folder `out`.

    A report that is already in `out` is replaced.

    Args:
        data, workers, progress: see `scan`.
        out: the folder to write.

    Returns:
        The report, and whether `prepare` accepts the data set.

    Raises:
        ConfigError: the root has an environment variable that is not set.
        DataError: `out` holds other files.
    """
    with atomic_folder(out, marker=PAGE) as temporary:
        result = scan(data, workers=workers, progress=progress)
        shown = draw_contact_sheet(data, result.pairs, temporary / _SHEET)
        document = compose(data, result, shown)
        (temporary / PAGE).write_text(page(document, temporary), encoding="utf-8")
    return document, not (result.errors or result.problems)


def compose(data: DataConfig, result: Scan, shown: list[str]) -> Document:
    """Return the report on a scan; `shown` are the images of the contact sheet, see `draw_contact_sheet`."""
    statistics = {split: counts.to_json(data) for split, counts in result.splits.items()}
    refused = len(result.errors) + len(result.problems)
    verdict = (
        f"`prepare` refuses data set {data.name}: {refused} problem{'s' * (refused != 1)}."
        if refused
        else f"`prepare` accepts data set {data.name}."
    )
    number = len(result.warnings)
    if number:
        verdict += f" {number} warning{'s' * (number != 1)}."
    caption = f"Images spread evenly over the splits, and their labels over them: {', '.join(shown)}."
    sheet = Section(
        name="images",
        title="Images and labels",
        pictures=(Picture(_SHEET, caption),),
        pairwise=False,
    )
    sections = (
        _points("problems", "Problems", [*result.errors, *result.problems]),
        _points("warnings", "Warnings", result.warnings),
        _points("left-out", "Left out", result.notes),
        Section(name="splits", title="Splits", table=_split_table(result)),
        Section(name="classes", title="Classes", table=class_table(statistics)),
        sheet if shown else None,
    )
    described = {
        "data set": data.name,
        "format": data.format,
        "root": data.root,
        "classes": str(data.num_classes),
        "images": f"{sum(counts.images for counts in result.splits.values()):,}",
    }
    return Document(
        name=f"check-{data.name}",
        title=f"Check of data set {data.name}",
        sentences=(verdict,),
        runs=TextTable(columns=tuple(Column(key, [text]) for key, text in described.items()), labels=3),
        sections=tuple(section for section in sections if section),
    )


def _points(name: str, title: str, texts: list[str]) -> Section | None:
    if not texts:
        return None
    more = len(texts) - _SHOWN_PROBLEMS
    shown = (*texts[:_SHOWN_PROBLEMS], *([f"... and {more} more"] if more > 0 else []))
    return Section(name=name, title=title, points=shown)


def _split_table(result: Scan) -> TextTable:
    counts = list(result.splits.values())
    columns = {
        "split": list(result.splits),
        "images": [f"{one.images:,}" for one in counts],
        "width": [_span(one.widths) for one in counts],
        "height": [_span(one.heights) for one in counts],
        "pixels": [f"{one.pixels.total():,}" for one in counts],
        "void": [percent(one.void_share) for one in counts],
        "label values": [describe_values(one.values) if one.values else NO_VALUE for one in counts],
    }
    return TextTable(columns=tuple(map(Column, columns, columns.values())))


def _span(sizes: set[int]) -> str:
    low, high = min(sizes, default=0), max(sizes, default=0)
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"
