"""The sections on single classes: how often each occurs in the data, and the IoU of each."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from regproxy.config.dataset import DataConfig
from regproxy.config.profile import Profile
from regproxy.data.statistics import Statistics, percent
from regproxy.report.aggregate import Score, Scores
from regproxy.report.layout import (
    NO_VALUE,
    Column,
    Picture,
    Section,
    TextTable,
    data_title,
    row_label,
    signed,
)


def data_section(profile: Profile, data: DataConfig, statistics: Statistics) -> Section | None:
    """Return the section with the statistics of a prepared data set and its warnings; None without any.

    Args:
        profile: gives the data set's title.
        data: one of the profile's data sets.
        statistics: from `read_statistics`.
    """
    if not statistics.splits:
        return None
    title = data_title(profile, data)
    void = ", ".join(f"{percent(split['void_share'])} of {name}" for name, split in statistics.splits.items())
    return Section(
        name=f"data-{data.name}",
        title=f"Data of {title}",
        short_title=f"Data: {title}",
        sentences=(f"A share is that of the labelled pixels of a split. Void pixels: {void}.",),
        points=tuple(f"Warning: {warning}" for warning in statistics.warnings),
        table=class_table(statistics.splits),
    )


def class_table(statistics: Mapping[str, Any]) -> TextTable:
    """Return a table of the classes: share, images and pixels in each split (see `SplitCounts.to_json`)."""
    classes = {name: split["classes"].values() for name, split in statistics.items()}
    names = list(next(iter(statistics.values()))["classes"])
    columns = [Column("class", names)]
    for split, counts in classes.items():
        columns.append(Column(f"share in {split}", [percent(one["share"]) for one in counts]))
    for split, counts in classes.items():
        columns.append(Column(f"images in {split}", [f"{one['images']:,}" for one in counts]))
    for split, counts in classes.items():
        columns.append(Column(f"pixels in {split}", [f"{one['pixels']:,}" for one in counts]))
    return TextTable(columns=tuple(columns))


def class_section(
    profile: Profile, data: DataConfig, scores: Scores, pictures: Sequence[Picture] = ()
) -> Section | None:
    """Return the section with the IoU of every class of a data set; None if no shown variant is scored.

    The table has the variants of `profile.pictures` and the difference of the main one to the baseline. Each
    value is the median over the scored seeds, in percent; a dash stands for a class that occurs in neither
    labels nor predictions.

    Args:
        profile: gives the variants to show and their labels.
        data: one of the profile's data sets.
        scores: from `aggregate.collect`.
        pictures: shown below the table.
    """
    wanted = profile.pictures.variants if profile.pictures else ()
    shown = {name: scores[name, data.name] for name in wanted if (name, data.name) in scores}
    shown = {name: score for name, score in shown.items() if _iou_of_seeds(score)}
    if not shown:
        return None
    medians = {
        name: [summary and summary[0] for summary in class_summaries(score)] for name, score in shown.items()
    }
    columns = [Column("class", data.classes)]
    for name, score in shown.items():
        texts = [NO_VALUE if value is None else f"{value:.2f}" for value in medians[name]]
        columns.append(Column(row_label(profile, name), texts, details=_details(score)))
    main, baseline = profile.pictures.main, profile.pictures.baseline
    if main != baseline and {main, baseline} <= shown.keys():
        differences = [
            NO_VALUE if None in pair else signed(round(pair[0], 2) - round(pair[1], 2))
            for pair in zip(medians[main], medians[baseline], strict=True)
        ]
        columns.append(Column("difference", differences))
    title = data_title(profile, data)
    sentence = "IoU in percent, median of the seeds."
    if columns[-1].header == "difference":
        sentence += f" Difference: {row_label(profile, main)} minus {row_label(profile, baseline)}."
    return Section(
        name=f"classes-{data.name}",
        title=f"Classes of {title}",
        short_title=f"Classes: {title}",
        sentences=(sentence,),
        table=TextTable(columns=tuple(columns)),
        pictures=tuple(pictures),
    )


def class_summaries(score: Score) -> list[tuple[float, float, float] | None]:
    """Return median, minimum and maximum IoU of each class over the scored seeds, in percent.

    None stands for a class without a value in any seed. The list is empty if no record has values.
    """
    by_class = zip(*_iou_of_seeds(score).values(), strict=True)
    known = [[100 * value for value in values if value is not None] for values in by_class]
    return [(statistics.median(values), min(values), max(values)) if values else None for values in known]


def _iou_of_seeds(score: Score) -> dict[int, Sequence[float | None]]:
    """Return the IoU of every class, 0..1, by seed."""
    results = {seed: trial.result for seed, trial in score.trials.items()}
    return {seed: result["iou_per_class"] for seed, result in results.items() if "iou_per_class" in result}


def _details(score: Score) -> list[str]:
    """Return the IoU of each seed, one text per class."""
    seeds = _iou_of_seeds(score)
    if len(seeds) == 1:
        return []
    texts = [
        [f"seed {seed}: {NO_VALUE if value is None else f'{100 * value:.2f}'}" for value in values]
        for seed, values in seeds.items()
    ]
    return ["\n".join(lines) for lines in zip(*texts, strict=True)]
