"""The sections after the tables: whether the paper's trends appear, and the entropy of the regions."""

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Scores
from regproxy.report.layout import NO_VALUE, Column, Section, TextTable, row_label, signed
from regproxy.report.tables import score_text

_ENTROPY = (
    "Mean entropy, in nats, of the class histogram of a region (Eq. 5 of the paper) over the validation "
    "split. A lower value means that a region covers fewer classes."
)


def trends(profile: Profile, scores: Scores) -> Section | None:
    """Return the section on the paper's trends, judged by single-scale medians; None without any trend."""
    if not profile.trends:
        return None
    answers: dict[str, list[str]] = {data.name: [] for data in profile.datasets}
    total, refuted = 0, []
    for trend in profile.trends:
        for dataset, texts in answers.items():
            pair = (scores.get((variant, dataset)) for variant in (trend.better, trend.than))
            better, worse = (score.median() if score else None for score in pair)
            if better is None or worse is None:
                texts.append(NO_VALUE)
                continue
            # Rounded medians give the difference of the numbers in the tables.
            difference = round(round(better, 2) - round(worse, 2), 2)
            texts.append(f"{'yes' if difference > 0 else 'no'} ({signed(difference)})")
            total += 1
            if difference <= 0:
                refuted.append(f"{trend.claim}, on {dataset}")
    exceptions = f" Exceptions: {'; '.join(refuted)}." if refuted else ""
    summary = f"{total - len(refuted)} of {total} comparisons agree with the paper.{exceptions}"
    claims = Column("claim", [trend.claim for trend in profile.trends])
    return Section(
        name="trends",
        title="Trends of the paper",
        sentences=(summary if total else "No trend can be checked yet.",),
        table=TextTable(columns=(claims, *map(Column, answers, answers.values()))),
    )


def region_entropy(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with the region entropy of every variant that has one; None if no variant has."""
    names = [name for (name, _), score in scores.items() if score.values("region_entropy")]
    measured = list(dict.fromkeys(names))
    if not measured:
        return None
    labels = [row_label(profile, name) for name in measured]
    columns = [Column("variant", measured), Column("row", labels)]
    for data in profile.datasets:
        found = (scores.get((name, data.name)) for name in measured)
        columns.append(Column(data.name, [score_text(score, "region_entropy", 3) for score in found]))
    table = TextTable(columns=tuple(columns), labels=2)
    return Section(name="region-entropy", title="Region entropy", sentences=(_ENTROPY,), table=table)
