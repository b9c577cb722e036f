"""A table of a profile as a grid: labels, complexity, and our scores beside the published ones."""

from collections.abc import Sequence

from regproxy.config.profile import Profile, Table
from regproxy.config.variant import DataConfig
from regproxy.report.aggregate import Complexity, Metric, Score, Scores
from regproxy.report.complexity_columns import complexity_columns
from regproxy.report.layout import NOTHING, Column, Entry, Grid, Section, signed, words

_BOLD = (
    "Bold: the best two of each group with at least three values, ours and the published ones apart; "
    "ties with the second count."
)
_MULTI_SCALE = "Scored at several scales with and without a flip."


def table_section(profile: Profile, table: Table, scores: Scores, complexity: Complexity) -> Section:
    """Returns a table under its title."""
    return Section(
        name=table.name,
        title=table.title,
        sentences=(_MULTI_SCALE,) if table.metric == "multi_scale_miou" else (),
        grid=table_grid(profile, table, scores, complexity),
    )


def table_grid(profile: Profile, table: Table, scores: Scores, complexity: Complexity) -> Grid:
    """Returns a table: label columns, complexity if it is asked for, then what each data set has.

    Args:
        profile: gives the data sets and their order.
        table: one of the profile's.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`; a variant that is not in it shows a dash.
    """
    columns = [words(head, [row.label[i] for row in table.rows]) for i, head in enumerate(table.columns)]
    notes: list[str] = []
    if table.complexity:
        added, notes = complexity_columns(table, complexity)
        columns += added
    for data in profile.datasets:
        columns += _score_columns(table, data, scores, first=data is profile.datasets[0])
    bold = any(entry.bold for column in columns for entry in column.entries)
    groups = [row.group for row in table.rows]
    return Grid(
        columns=tuple(columns),
        labels=len(table.columns),
        breaks=tuple(i for i in range(1, len(groups)) if groups[i] != groups[i - 1]),
        notes=(*notes, _BOLD) if bold else tuple(notes),
    )


def best_two(values: Sequence[float | None], groups: Sequence[str]) -> list[bool]:
    """Returns which values are among the best two of their group, ties with the second included.

    None counts as no value. A group with fewer than three values has no best two (one would be the worst
    as well), nor have rows of the group "". Values are compared as they are shown, with two decimals.
    """
    shown = [None if value is None else round(value, 2) for value in values]
    members: dict[str, list[float]] = {}
    for value, group in zip(shown, groups, strict=True):
        if value is not None and group:
            members.setdefault(group, []).append(value)
    second = {group: sorted(found)[-2] for group, found in members.items() if len(found) >= 3}
    return [
        value is not None and group in second and value >= second[group]
        for value, group in zip(shown, groups, strict=True)
    ]


def _score_columns(table: Table, data: DataConfig, scores: Scores, *, first: bool) -> list[Column]:
    """Returns our scores on a data set; published ones and differences only where the table has any."""
    rows, groups = table.rows, [row.group for row in table.rows]
    found = [scores.get((row.variant, data.name)) if row.variant else None for row in rows]
    texts = [score_text(score, table.metric) for score in found]
    if first:
        texts = [
            f"not run: needs {row.needs}" if row.needs else t for row, t in zip(rows, texts, strict=True)
        ]
    medians = [score.median(table.metric) if score else None for score in found]
    columns = [Column(data.name, list(map(Entry, texts, best_two(medians, groups))))]
    published = [row.published.get(data.name) for row in rows]
    if any(value is not None for value in published):
        shown = [NOTHING if value is None else f"{value:.2f}" for value in published]
        columns += [
            Column("published", list(map(Entry, shown, best_two(published, groups)))),
            words("difference", list(map(_difference, medians, published))),
        ]
    return columns


def score_text(score: Score | None, metric: Metric, decimals: int = 2) -> str:
    """Returns median and span, how many seeds there are while some are missing, or a dash for no score."""
    if score is None:
        return NOTHING
    summary = score.summary(metric)
    if summary is None:
        return f"{len(score.values(metric))} of {len(score.seeds)}"
    median, low, high = (f"{value:.{decimals}f}" for value in summary)
    return median if len(score.seeds) == 1 else f"{median} ({low}–{high})"


def _difference(median: float | None, published: float | None) -> str:
    if median is None or published is None:
        return NOTHING
    return signed(round(median, 2) - published)  # of the rounded median, so that a printed line agrees
