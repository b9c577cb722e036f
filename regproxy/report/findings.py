"""The sections after the tables: the paper's trends, boundary IoU, entropy of regions."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from regproxy.config.profile import Profile
from regproxy.eval.bootstrap import NUM_RESAMPLES, difference_interval, resampled_mious
from regproxy.report.aggregate import Metric, Score, Scores
from regproxy.report.layout import NO_VALUE, Column, Section, TextTable, data_title, row_label, signed
from regproxy.report.tables import score_text, seed_details

YES, NO, UNCERTAIN = "yes", "no", "cannot tell"
_METHOD = (
    f"Method: paired bootstrap (Efron and Tibshirani, 1993) of the difference of the medians, with "
    f"{NUM_RESAMPLES:,} resamples of the images, the same for both variants, and of the seeds. The answer is "
    f"{YES} if the whole 95 % interval is above zero, and {NO} if it is below zero."
)
_ONE_SEED = "With one seed, the interval does not show how much repeated trainings differ."
_FEW_SEEDS = (
    "{} seeds are few to resample: between equal variants, all of them favour the same one in one of {} "
    "comparisons, by chance."
)
_NO_INTERVAL = (
    "Where an answer has no interval, a result has no confusion matrix of each image, or the variants were "
    "scored on different images; `dvc repro` scores outdated results again."
)
_BOUNDARY = (
    "Mean over the classes of the IoU of their boundary regions (Cheng et al., Boundary IoU, CVPR 2021), in "
    "percent: only pixels within 2 % of the image's diagonal of a class's contour count, on every data set; "
    "the authors' code uses 0.5 % for Cityscapes."
)
_ENTROPY = (
    "Mean entropy, in nats, of the class histogram of a region (Eq. 5 of the paper) over the validation "
    "split. A lower value means that a region covers fewer classes."
)


class _Resamples(NamedTuple):
    """A variant's mIoU in percent in each resample of the images, by seed.

    `images` is a hash of the number of pixels of each label in each image: it identifies the images.
    """

    mious: Mapping[int, np.ndarray]
    images: str


def trends(profile: Profile, scores: Scores) -> Section | None:
    """Return the section on the paper's trends, judged by single-scale medians; None without any trend.

    Raises:
        DataError: the confusion matrices in a record are damaged; the message has the file and the remedy.
    """
    if not profile.trends:
        return None
    titles = {data.name: data_title(profile, data) for data in profile.datasets}
    answers: dict[str, list[str]] = {data.name: [] for data in profile.datasets}
    found: dict[str, list[str]] = {YES: [], NO: [], UNCERTAIN: []}
    resamples: dict[tuple[str, str], _Resamples | None] = {}
    complete = True
    for trend in profile.trends:
        for dataset, texts in answers.items():
            pair = [(variant, dataset) for variant in (trend.better, trend.than)]
            medians = [scores[key].median() if key in scores else None for key in pair]
            if None in medians:
                texts.append(NO_VALUE)
                continue
            for key in pair:
                if key not in resamples:
                    resamples[key] = _resample(scores[key])
            interval = _interval(*(resamples[key] for key in pair))
            verdict, text = _verdict(medians, interval)
            texts.append(text)
            found[verdict].append(f"{titles[dataset]}: {trend.claim}")
            complete = complete and interval is not None
    claims = Column("claim", [trend.claim for trend in profile.trends])
    return Section(
        name="trends",
        title="Trends of the paper",
        sentences=_summary(found, complete, len(profile.seeds)),
        table=TextTable(columns=(claims, *map(Column, titles.values(), answers.values()))),
    )


def boundary_iou(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with the boundary IoU of every variant that has one; None if no variant has."""
    return _metric_section(profile, scores, "boundary_iou", "Boundary IoU", _BOUNDARY, 2)


def region_entropy(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with the region entropy of every variant that has one; None if no variant has."""
    return _metric_section(profile, scores, "region_entropy", "Region entropy", _ENTROPY, 3)


def _metric_section(
    profile: Profile, scores: Scores, metric: Metric, title: str, sentence: str, decimals: int
) -> Section | None:
    """Return a section with a metric: variants in rows, data sets in columns; None if no variant has it."""
    names = [name for (name, _), score in scores.items() if score.values(metric)]
    measured = list(dict.fromkeys(names))
    if not measured:
        return None
    labels = [row_label(profile, name) for name in measured]
    columns = [Column("variant", measured), Column("row", labels)]
    for data in profile.datasets:
        found = [scores.get((name, data.name)) for name in measured]
        texts = [score_text(score, metric, decimals) for score in found]
        details = [seed_details(score, metric, decimals) for score in found]
        columns.append(Column(data_title(profile, data), texts, details=details))
    table = TextTable(columns=tuple(columns), labels=2)
    return Section(name=metric.replace("_", "-"), title=title, sentences=(sentence,), table=table)


def _resample(score: Score) -> _Resamples | None:
    """Return the resamples of a variant; None if a record has no matrices, or the seeds' images differ."""
    mious, hashes = {}, set()
    for seed, trial in score.trials.items():
        images = trial.image_confusions()
        if images is None:
            return None
        labelled, correct = images.labelled(), images.correct()
        hashes.add(hashlib.sha256(labelled.tobytes()).hexdigest())
        mious[seed] = 100 * resampled_mious(correct, labelled + images.predicted() - correct)
    return _Resamples(mious, hashes.pop()) if len(hashes) == 1 else None


def _interval(better: _Resamples | None, worse: _Resamples | None) -> tuple[float, float] | None:
    """Return the interval of the difference; None unless both were scored on the same images."""
    if better is None or worse is None or better.images != worse.images:
        return None
    return difference_interval(better.mious, worse.mious)


def _verdict(medians: list[float], interval: tuple[float, float] | None) -> tuple[str, str]:
    """Return the verdict on a difference in percent, and the verdict with difference and interval."""
    better, worse = medians
    # Rounded medians give the difference of the numbers in the tables.
    difference = signed(round(better, 2) - round(worse, 2))
    if interval is None:
        return UNCERTAIN, f"{UNCERTAIN} ({difference}, no interval)"
    low, high = interval
    verdict = YES if low > 0 else NO if high < 0 else UNCERTAIN
    return verdict, f"{verdict} ({difference}, 95 % interval {signed(low)} to {signed(high)})"


def _summary(found: Mapping[str, list[str]], complete: bool, num_seeds: int) -> tuple[str, ...]:
    """Return the number of each verdict, the method, and unless `complete`, why intervals are missing."""
    total = sum(map(len, found.values()))
    if not total:
        return ("No trend can be checked yet.",)
    counts = ", ".join(f"{len(claims)} {verdict}" for verdict, claims in found.items())
    refuted = f" Against the paper: {'; '.join(found[NO])}." if found[NO] else ""
    seeds = _ONE_SEED if num_seeds == 1 else _FEW_SEEDS.format(num_seeds, 2 ** (num_seeds - 1))
    answer = f"Do the paper's trends appear? Comparisons: {counts}, {total} in all.{refuted}"
    sentences = (answer, f"{_METHOD} {seeds}")
    return sentences if complete else (*sentences, _NO_INTERVAL)
