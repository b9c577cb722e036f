"""The whole report: its sections in their order, and the four files that hold it."""

from collections.abc import Sequence
from pathlib import Path

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Complexity, Scores
from regproxy.report.csv_file import csv_text
from regproxy.report.findings import boundary_iou, region_entropy, trends
from regproxy.report.latex import latex
from regproxy.report.layout import Document, Picture, Section
from regproxy.report.markdown import markdown
from regproxy.report.page import page
from regproxy.report.tables import table_section
from regproxy.report.what_was_run import deviations, opening_sentences, runs_table


def compose(
    profile: Profile, scores: Scores, complexity: Complexity, figures: Sequence[Picture] = ()
) -> Document:
    """Return the report of a profile: what was run, deviations, tables, trends, other scores, pictures.

    Args:
        profile: gives tables, trends and notes, and their order.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`.
        figures: the pictures, in their order.
    """
    pictures = Section(name="figures", title="Figures", pictures=tuple(figures)) if figures else None
    sections = (
        deviations(profile, scores),
        *(table_section(profile, table, scores, complexity) for table in profile.tables),
        trends(profile, scores),
        boundary_iou(profile, scores),
        region_entropy(profile, scores),
        pictures,
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
    figures: Sequence[Picture] = (),
) -> Document:
    """Write `tables.md`, `tables.csv`, `tables.tex` and `report.html`; return the report.

    Args:
        profile, scores, complexity, figures: see `compose`.
        directory: an existing folder for the files; paths of figures are relative to it.
    """
    document = compose(profile, scores, complexity, figures)
    files = {
        "tables.md": markdown(document),
        "tables.csv": csv_text(profile, scores, complexity),
        "tables.tex": latex(document),
        "report.html": page(document, directory),
    }
    for name, text in files.items():
        (directory / name).write_text(text, encoding="utf-8")
    return document
