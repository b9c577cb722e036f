"""What the scores show beyond the tables: the paper's trends, and how pure the regions are."""

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Scores
from regproxy.report.layout import NOTHING, Grid, Section, row_label, signed, words
from regproxy.report.tables import score_text

_ENTROPY = (
    "Mean entropy in nats of the regions' category histograms (Eq. 5) over the validation split; lower is "
    "semantically purer."
)


def trends(profile: Profile, scores: Scores) -> Section | None:
    """Returns which of the paper's trends the single-scale medians show; None for a profile without any."""
    if not profile.trends:
        return None
    answers: list[list[str]] = [[] for _ in profile.datasets]
    held, failed = 0, []
    for trend in profile.trends:
        for place, data in enumerate(profile.datasets):
            better, than = (scores.get((variant, data.name)) for variant in (trend.better, trend.than))
            medians = [score.median() if score else None for score in (better, than)]
            if None in medians:
                answers[place].append(NOTHING)
                continue
            # Of the rounded medians, so that it is the difference of what the tables show.
            difference = round(round(medians[0], 2) - round(medians[1], 2), 2)
            held += difference > 0
            failed += [] if difference > 0 else [f"{trend.claim}, on {data.name}"]
            answers[place].append(f"{'yes' if difference > 0 else 'no'} ({signed(difference)})")
    columns = [words("claim", [trend.claim for trend in profile.trends])]
    columns += [words(data.name, found) for data, found in zip(profile.datasets, answers, strict=True)]
    return Section(
        name="trends",
        title="Trends of the paper",
        sentences=(_verdict(held, failed),),
        grid=Grid(columns=tuple(columns)),
    )


def _verdict(held: int, failed: list[str]) -> str:
    total = held + len(failed)
    if not total:
        return "None of the comparisons can be made yet."
    if not failed:
        return f"{held} of {total} comparisons hold at this scale."
    return f"{held} of {total} comparisons hold at this scale; not: {'; '.join(failed)}."


def region_entropy(profile: Profile, scores: Scores) -> Section | None:
    """Returns the region entropies of every variant that has any; None if none has."""
    names = list(dict.fromkeys(variant.name for variant in profile.variants))
    measured = [
        name
        for name in names
        if any(score.values("region_entropy") for (variant, _), score in scores.items() if variant == name)
    ]
    if not measured:
        return None
    columns = [
        words("variant", measured),
        words("row", [row_label(profile, name) for name in measured]),
        *(
            words(
                data.name,
                [score_text(scores.get((name, data.name)), "region_entropy", 3) for name in measured],
            )
            for data in profile.datasets
        ),
    ]
    grid = Grid(columns=tuple(columns), labels=2)
    return Section(name="region-entropy", title="Region entropy", sentences=(_ENTROPY,), grid=grid)
