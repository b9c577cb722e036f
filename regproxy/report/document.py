"""The whole report: which sections stand in it, in which order, and the four files it is written to."""

import os
from collections.abc import Sequence
from pathlib import Path

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Complexity, Scores
from regproxy.report.csv_file import csv_text
from regproxy.report.findings import region_entropy, trends
from regproxy.report.latex import latex
from regproxy.report.layout import Document, Section
from regproxy.report.markdown import markdown
from regproxy.report.page import page
from regproxy.report.tables import table_section
from regproxy.report.what_was_run import deviations, missing_sentence, runs_grid, sentence

_COMPLEXITY = (
    "Parameters, GFLOPs (counted the paper's way) and GMACs (of every operator) are those of a row's model "
    "for one 512 × 512 crop and 150 classes."
)


def compose(
    profile: Profile, scores: Scores, complexity: Complexity, figures: Sequence[str] = ()
) -> Document:
    """Returns the report of a profile: what was run, deviations, tables, trends, entropy, pictures.

    Args:
        profile: gives the tables, trends and notes and their order.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`.
        figures: paths of pictures relative to the report.
    """
    seeds = ", ".join(map(str, profile.seeds))
    counted = any(table.complexity for table in profile.tables)
    sentences = (f"{sentence(profile)} Seeds: {seeds}.", counted and _COMPLEXITY, missing_sentence(scores))
    pictures = Section(name="figures", title="Figures", pictures=tuple(figures)) if figures else None
    sections = (
        deviations(profile, scores),
        *(table_section(profile, table, scores, complexity) for table in profile.tables),
        trends(profile, scores),
        region_entropy(profile, scores),
        pictures,
    )
    return Document(
        name=profile.name,
        title=f"Results of profile {profile.name}",
        sentences=tuple(text for text in sentences if text),
        runs=runs_grid(profile, scores),
        sections=tuple(section for section in sections if section),
    )


def write_report(
    profile: Profile,
    scores: Scores,
    complexity: Complexity,
    directory: Path,
    *,
    figures: Sequence[str] = (),
) -> Document:
    """Writes `tables.md`, `.csv` and `.tex` and `report.html`, each whole or not at all; returns the report.

    Args:
        directory: where the files go and the figures lie; it exists. The others are those of `compose`.
    """
    document = compose(profile, scores, complexity, figures)
    _write(directory / "tables.md", markdown(document))
    _write(directory / "tables.csv", csv_text(profile, scores, complexity))
    _write(directory / "tables.tex", latex(document))
    _write(directory / "report.html", page(document, directory))
    return document


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
