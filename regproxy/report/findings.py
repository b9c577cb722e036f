"""The sections after the tables: whether the paper's trends appear, and the entropy of the regions."""

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Scores
from regproxy.report.layout import NO_VALUE, Section, TextTable, row_label, signed, text_column
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
    confirmed, refuted = 0, []
    for trend in profile.trends:
        for dataset, texts in answers.items():
            pair = (scores.get((variant, dataset)) for variant in (trend.better, trend.than))
            better, worse = (score.median() if score else None for score in pair)
            if better is None or worse is None:
                texts.append(NO_VALUE)
                continue
            # Rounded medians give the difference of the numbers in the tables.
            difference = round(round(better, 2) - round(worse, 2), 2)
            if difference > 0:
                confirmed += 1
            else:
                refuted.append(f"{trend.claim}, on {dataset}")
            texts.append(f"{'yes' if difference > 0 else 'no'} ({signed(difference)})")
    columns = [text_column("claim", [trend.claim for trend in profile.trends])]
    columns += [text_column(dataset, texts) for dataset, texts in answers.items()]
    return Section(
        name="trends",
        title="Trends of the paper",
        sentences=(_trend_sentence(confirmed, refuted),),
        table=TextTable(columns=tuple(columns)),
    )


def _trend_sentence(confirmed: int, refuted: list[str]) -> str:
    total = confirmed + len(refuted)
    if not total:
        return "No trend can be checked yet."
    exceptions = f" Exceptions: {'; '.join(refuted)}." if refuted else ""
    return f"{confirmed} of {total} comparisons agree with the paper.{exceptions}"


def region_entropy(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with the region entropy of every variant that has one; None if no variant has."""
    names = list(dict.fromkeys(variant.name for variant in profile.variants))
    measured = [
        name
        for name in names
        if any(score.values("region_entropy") for (variant, _), score in scores.items() if variant == name)
    ]
    if not measured:
        return None
    columns = [
        text_column("variant", measured),
        text_column("row", [row_label(profile, name) for name in measured]),
        *(
            text_column(
                data.name,
                [score_text(scores.get((name, data.name)), "region_entropy", 3) for name in measured],
            )
            for data in profile.datasets
        ),
    ]
    table = TextTable(columns=tuple(columns), labels=2)
    return Section(name="region-entropy", title="Region entropy", sentences=(_ENTROPY,), table=table)
