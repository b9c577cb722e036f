"""The whole report: its sections in their order, and the files that hold it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regproxy.config.profile import Profile
from regproxy.data.statistics import Statistics
from regproxy.report.aggregate import Complexity, Scores
from regproxy.report.classes import class_section, data_section
from regproxy.report.data_files import classes_csv, csv_text, curves_csv, metrics
from regproxy.report.findings import boundary_iou, region_entropy, trends
from regproxy.report.how_it_ran import how_it_ran, how_to_repeat
from regproxy.report.latex import latex
from regproxy.report.layout import Document, ExplorerImage, Picture, Section
from regproxy.report.markdown import markdown
from regproxy.report.page import page
from regproxy.report.tables import table_section
from regproxy.report.what_was_run import deviations, opening_sentences, runs_table

_EXPLORER = (
    "Move over the image, tap it, or focus it and use the arrow keys. Yellow shows the region of the token "
    "that the pixel belongs to most: the probability of each sub-cell to belong to it. White outlines the "
    "cell of the token, blue the pixel's sub-cell. A click or Enter selects the token whose cell the pixel "
    "is in, Escape releases it."
)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The pictures of a report by section, and the images of the region explorer.

    `classes` are by data set. `search` is a whole section, because its table needs no scores.
    """

    plots: Sequence[Picture] = ()
    regions: Sequence[Picture] = ()
    explorer: Sequence[ExplorerImage] = ()
    predictions: Sequence[Picture] = ()
    classes: Mapping[str, Sequence[Picture]] = field(default_factory=dict)
    curves: Sequence[Picture] = ()
    search: Section | None = None


def compose(
    profile: Profile,
    scores: Scores,
    complexity: Complexity,
    figures: Figures | None = None,
    statistics: Mapping[str, Statistics] | None = None,
) -> Document:
    """Return the report of a profile: what was run, tables, figures, data, classes, search.

    Args:
        profile: gives tables, trends and notes, and their order.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`.
        figures: pictures and explorer; None for a report without any.
        statistics: of each prepared data set by name, from `read_statistics`; others are left out.
    """
    figures = figures or Figures()
    known = statistics or {}
    sections = (
        *(table_section(profile, table, scores, complexity) for table in profile.tables),
        trends(profile, scores),
        _pictures("plots", "mIoU against stride and cost", "Plots", figures.plots),
        _pictures(
            "regions",
            "Regions of early tokens, as in the supplement's Figure 1",
            "Regions",
            figures.regions,
            pairwise=False,
        ),
        _explorer(figures.explorer),
        _pictures(
            "predictions",
            "Predictions, as in the supplement's Figures 2 and 3",
            "Predictions",
            figures.predictions,
        ),
        *(data_section(profile, data, known[data.name]) for data in profile.datasets if data.name in known),
        *(
            class_section(profile, data, scores, figures.classes.get(data.name, ()))
            for data in profile.datasets
        ),
        boundary_iou(profile, scores),
        region_entropy(profile, scores),
        _pictures("curves", "Training and validation curves", "Curves", figures.curves),
        figures.search,
        deviations(profile, scores),
        how_it_ran(profile, scores),
        how_to_repeat(profile, scores),
    )
    return Document(
        name=profile.name,
        title=f"Results of profile {profile.name}",
        sentences=opening_sentences(profile, scores),
        runs=runs_table(profile, scores),
        sections=tuple(section for section in sections if section),
    )


def write_report(
    profile: Profile,
    scores: Scores,
    complexity: Complexity,
    directory: Path,
    *,
    figures: Figures | None = None,
    statistics: Mapping[str, Statistics] | None = None,
) -> Document:
    """Write the report as HTML, Markdown and LaTeX, and its numbers as CSV and JSON; return the report.

    Args:
        profile, scores, complexity, figures, statistics: see `compose`.
        directory: an existing folder for the files; paths of figures are relative to it.
    """
    document = compose(profile, scores, complexity, figures, statistics)
    files = {
        "tables.md": markdown(document),
        "tables.csv": csv_text(profile, scores, complexity),
        "tables.tex": latex(document),
        "metrics.json": json.dumps(metrics(scores), indent=1) + "\n",
        "curves.csv": curves_csv(scores),
        "classes.csv": classes_csv(scores),
        "report.html": page(document, directory),
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return document


def _pictures(
    name: str, title: str, short_title: str, pictures: Sequence[Picture], *, pairwise: bool = True
) -> Section | None:
    if not pictures:
        return None
    return Section(
        name=name, title=title, short_title=short_title, pictures=tuple(pictures), pairwise=pairwise
    )


def _explorer(images: Sequence[ExplorerImage]) -> Section | None:
    if not images:
        return None
    return Section(name="explorer", title="Region explorer", sentences=(_EXPLORER,), explorer=tuple(images))
