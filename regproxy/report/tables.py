"""The tables of the report: labels, complexity, and our scores beside the published ones."""

import re
from collections.abc import Sequence

from regproxy.config.dataset import DataConfig
from regproxy.config.profile import Profile, Table
from regproxy.report.aggregate import Complexity, Metric, Score, Scores
from regproxy.report.complexity_columns import complexity_columns
from regproxy.report.layout import NO_VALUE, Column, Section, TextTable, data_title, signed
from regproxy.runs.classes_present import left_out_classes

_BOLD = (
    "Bold: the two best values of each group of rows, and ties with the second. Our values and the published "
    "ones are ranked separately. A group with fewer than three values has no bold ones."
)
_MULTI_SCALE = "Multi-scale prediction: several scales of each image, with and without a horizontal flip."


def table_section(profile: Profile, table: Table, scores: Scores, complexity: Complexity) -> Section:
    """Return a section with one table: label columns, complexity if it asks for it, scores of each data set.

    Args:
        profile: gives the data sets and their order.
        table: one of the profile's tables.
        scores: from `aggregate.collect`.
        complexity: from `aggregate.read_complexity`; a variant that is missing in it gets a dash.
    """
    columns = [
        Column(header, [row.label[index] for row in table.rows]) for index, header in enumerate(table.columns)
    ]
    notes: list[str] = []
    if table.complexity:
        added, notes = complexity_columns(table, complexity)
        columns += added
    for data in profile.datasets:
        columns += _score_columns(profile, table, data, scores)
    if any(any(column.bold) for column in columns):
        notes = [*notes, _BOLD]
    notes = [*notes, *_left_out(profile, table, scores)]
    groups = [row.group for row in table.rows]
    text_table = TextTable(
        columns=tuple(columns),
        labels=len(table.columns),
        breaks=tuple(line for line in range(1, len(groups)) if groups[line] != groups[line - 1]),
        notes=tuple(notes),
    )
    sentences = (_MULTI_SCALE,) if table.metric == "multi_scale_miou" else ()
    number = re.fullmatch(r"table(\d+)", table.name)
    heading = f"Table {number[1]}" if number else table.title
    return Section(
        name=table.name,
        title=f"{heading}. {table.title}" if number else heading,
        short_title=heading,
        sentences=sentences,
        table=text_table,
    )


def _left_out(profile: Profile, table: Table, scores: Scores) -> list[str]:
    """Return a sentence for each data set of which the mIoU of a shown variant leaves out classes."""
    variants = {row.variant for row in table.rows}
    sentences = []
    for data in profile.datasets:
        found = [
            score for (name, dataset), score in scores.items() if name in variants and dataset == data.name
        ]
        left_out = left_out_classes(trial.result for score in found for trial in score.trials.values())
        if left_out:
            sentences.append(f"mIoU of {data_title(profile, data)}: {left_out}.")
    return sentences


def best_two(values: Sequence[float | None], groups: Sequence[str]) -> list[bool]:
    """Return for each value whether it is one of the two best in its group, or equal to the second best.

    A group with fewer than three values has no best two, since the second could also be the worst. Rows of
    the group "" are not compared. None is no value. Values are compared as printed, with two decimals.
    """
    rounded = [None if value is None else round(value, 2) for value in values]
    pairs = list(zip(rounded, groups, strict=True))
    best = []
    for value, group in pairs:
        members = sorted(other for other, name in pairs if name == group and other is not None)
        compared = group != "" and value is not None and len(members) >= 3
        best.append(compared and value >= members[-2])
    return best


def _score_columns(profile: Profile, table: Table, data: DataConfig, scores: Scores) -> list[Column]:
    """Return the columns of a data set: our scores; published scores and differences if there are any."""
    first = data is profile.datasets[0]
    groups = [row.group for row in table.rows]
    ours = [scores.get((row.variant, data.name)) for row in table.rows]
    texts = [
        f"not run: needs {row.needs}" if first and row.needs else score_text(score, table.metric)
        for row, score in zip(table.rows, ours, strict=True)
    ]
    medians = [score.median(table.metric) if score else None for score in ours]
    details = [seed_details(score, table.metric) for score in ours]
    columns = [Column(data_title(profile, data), texts, best_two(medians, groups), details)]
    published = [row.published.get(data.name) for row in table.rows]
    if any(value is not None for value in published):
        printed = [NO_VALUE if value is None else f"{value:.2f}" for value in published]
        differences = [  # of rounded medians, so that the printed numbers of a line add up
            NO_VALUE if None in (median, value) else signed(round(median, 2) - value)
            for median, value in zip(medians, published, strict=True)
        ]
        columns.append(Column("published", printed, best_two(published, groups)))
        columns.append(Column("difference", differences))
    return columns


def score_text(score: Score | None, metric: Metric, decimals: int = 2) -> str:
    """Return "median (min–max)", "1 of 3" if only one of three seeds has a score, or a dash for no score."""
    if score is None:
        return NO_VALUE
    summary = score.summary(metric)
    if summary is None:
        return f"{len(score.values(metric))} of {len(score.seeds)}"
    median, low, high = (f"{value:.{decimals}f}" for value in summary)
    return median if len(score.seeds) == 1 else f"{median} ({low}–{high})"


def seed_details(score: Score | None, metric: Metric, decimals: int = 2) -> str:
    """Return one line per scored seed with its metric; an empty text for a single seed or no score."""
    if score is None or len(score.seeds) == 1:
        return ""
    values = {seed: trial.metrics[metric] for seed, trial in score.trials.items() if metric in trial.metrics}
    return "\n".join(f"seed {seed}: {value:.{decimals}f}" for seed, value in values.items())
