"""What the records say about the runs behind the numbers, and where those differ from the paper's."""

from collections.abc import Callable, Iterable
from typing import Any

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Outcome, Scores
from regproxy.report.layout import NOTHING, Column, Grid, Section, words

_PAPER_SEEDS = 3
_READ: dict[str, Callable[[dict[str, Any]], Any]] = {  # from a run record
    "steps": lambda run: run["steps"],
    "batch size": lambda run: run["variant"]["recipe"]["batch_size"],
    "workers": lambda run: run["workers"],
    "data manifest": lambda run: run["data_manifest"][:12],
    "commit": lambda run: _short(run["git_commit"]),
}


def sentence(profile: Profile) -> str:
    """Returns what the numbers in the tables are, one sentence that fits the profile's seeds."""
    if len(profile.seeds) == 1:
        return "Validation mIoU in percent of a single run (1 seed), so without a spread."
    return f"Validation mIoU in percent: median (min–max) over {len(profile.seeds)} seeds."


def missing_sentence(scores: Scores) -> str | None:
    """Returns how many trials have no result and what to do about it; None if all have one."""
    wanted = sum(len(score.seeds) for score in scores.values())
    found = sum(len(score.outcomes) for score in scores.values())
    if found == wanted:
        return None
    return (
        f"{wanted - found} of {wanted} trials have no result yet; where a seed is missing, how many there "
        f"are stands in place of a number. `dvc repro` adds them."
    )


def runs_grid(profile: Profile, scores: Scores) -> Grid:
    """Returns what was run, a line a data set; where runs differ, every value that occurs."""
    found = {data.name: _outcomes(scores, data.name) for data in profile.datasets}
    wanted = dict.fromkeys(found, 0)
    for (_, dataset), score in scores.items():
        wanted[dataset] += len(score.seeds)

    def of_runs(*heads: str) -> list[Column]:
        return [
            words(head, [_listed(_of_runs(outcomes, head)) or NOTHING for outcomes in found.values()])
            for head in heads
        ]

    images = [_listed(outcome.result["num_images"] for outcome in outcomes) for outcomes in found.values()]
    columns = (
        words("data set", list(found)),
        words("scored runs", [f"{len(outcomes)} of {wanted[name]}" for name, outcomes in found.items()]),
        *of_runs("steps", "batch size", "workers"),
        words("images evaluated", [text or NOTHING for text in images]),
        *of_runs("data manifest", "commit"),
    )
    return Grid(columns=columns)


def deviations(profile: Profile, scores: Scores) -> Section | None:
    """Returns the profile's notes and what the records add to them; None if there is nothing to say."""
    points = [*profile.notes]
    if len(profile.seeds) != _PAPER_SEEDS:
        seeds = "1 seed" if len(profile.seeds) == 1 else f"{len(profile.seeds)} seeds"
        points.append(f"The paper reports the median of {_PAPER_SEEDS} runs; here a variant has {seeds}.")
    for data in profile.datasets:
        found = _outcomes(scores, data.name)
        for head in ("steps", "batch size"):
            values = set(_of_runs(found, head))
            if len(values) > 1:
                points.append(f"Runs on {data.name} differ in {head}: {_listed(sorted(values))}.")
    everywhere = [outcome for score in scores.values() for outcome in score.outcomes.values()]
    commits = [commit for commit in _of_runs(everywhere, "commit") if commit]
    dirty = sum(commit.endswith("-dirty") for commit in commits)
    if dirty:
        points.append(f"{dirty} of {len(commits)} runs were trained with uncommitted changes (`-dirty`).")
    if len(set(commits)) > 1:
        points.append(f"The runs come from {len(set(commits))} commits: {_listed(commits)}.")
    if not points:
        return None
    return Section(name="deviations", title="Deviations from the paper", points=tuple(points))


def _outcomes(scores: Scores, dataset: str) -> list[Outcome]:
    return [
        outcome
        for (_, name), score in scores.items()
        if name == dataset
        for outcome in score.outcomes.values()
    ]


def _of_runs(outcomes: Iterable[Outcome], head: str) -> list[Any]:
    return [_READ[head](outcome.run) for outcome in outcomes if outcome.run]


def _short(commit: str | None) -> str | None:
    return commit and commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in dict.fromkeys(values) if value is not None)
