"""The runs behind the numbers of a report, and how they differ from the paper's."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from regproxy.config.profile import Profile
from regproxy.report.aggregate import ScoredTrial, Scores
from regproxy.report.layout import NO_VALUE, Column, Section, TextTable, data_title

_PAPER_SEEDS = 3
_COMPLEXITY = (
    "Parameters, GFLOPs and GMACs are those of a row's model for one crop of 512 × 512 pixels and 150 "
    "classes. GFLOPs are counted as in the paper; GMACs count every operator."
)


def opening_sentences(profile: Profile, scores: Scores) -> tuple[str, ...]:
    """Return what the numbers in the tables are, how many trials have no result yet, and the remedy."""
    count, seeds = len(profile.seeds), ", ".join(map(str, profile.seeds))
    summary = ", of a single run (1 seed)" if count == 1 else f": median (min–max) of {count} seeds"
    sentences = [f"The tables show validation mIoU in percent{summary}. Seeds: {seeds}."]
    if any(table.complexity for table in profile.tables):
        sentences.append(_COMPLEXITY)
    wanted = len(profile.trials())
    missing = wanted - sum(len(score.trials) for score in scores.values())
    if missing:
        sentences.append(
            f"{missing} of {wanted} trials have no result yet: run `dvc repro`. An incomplete entry shows "
            f"how many seeds it has instead of a median."
        )
    return tuple(sentences)


def runs_table(profile: Profile, scores: Scores) -> TextTable:
    """Return what was run: one line per data set, with all values that occur in its runs."""
    trials = {data.name: _trials(scores, data.name) for data in profile.datasets}
    wanted = Counter(variant.data.name for variant, _ in profile.trials())
    columns = {
        "data set": [data_title(profile, data) for data in profile.datasets],
        "scored runs": [f"{len(scored)} of {wanted[name]}" for name, scored in trials.items()],
    }
    for name in ("steps", "batch size", "workers", "images evaluated", "data", "commit"):
        columns[name] = [_listed(_values(scored, name)) or NO_VALUE for scored in trials.values()]
    return TextTable(columns=tuple(map(Column, columns, columns.values())))


def deviations(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with the profile's notes and the deviations in its records; None without any."""
    points = [*profile.notes]
    if len(profile.seeds) != _PAPER_SEEDS:
        seeds = "1 seed" if len(profile.seeds) == 1 else f"{len(profile.seeds)} seeds"
        points.append(f"The paper reports the median of {_PAPER_SEEDS} runs; here, a variant has {seeds}.")
    points += _steps_points(scores)
    for data in profile.datasets:
        for name in ("images evaluated", "data"):  # the same for all variants
            values = set(_values(_trials(scores, data.name), name))
            if len(values) > 1:
                points.append(f"Runs on {data.name} differ in {name}: {_listed(sorted(values))}.")
    trials = _trials(scores)
    commits = _values(trials, "commit")
    dirty = sum(commit.endswith("-dirty") for commit in commits)
    if dirty:
        points.append(f"{dirty} of {len(commits)} runs were trained with uncommitted changes (`-dirty`).")
    if len(set(commits)) > 1:
        points.append(f"The runs come from {len(set(commits))} commits: {_listed(commits)}.")
    points += _environment_points(scores)
    accepted = sum("accepted_sources" in {**(trial.run or {}), **trial.result} for trial in trials)
    if accepted:
        points.append(
            f"{accepted} of {len(trials)} runs, or their scores, were kept after an edit of the source "
            f"code (`--accept-source`)."
        )
    if not points:
        return None
    return Section(name="deviations", title="Deviations from the paper", points=tuple(points))


def _steps_points(scores: Scores) -> list[str]:
    """Return a sentence for each run that had another number of steps than its variant in the profile.

    No other setting can differ: `collect` leaves out runs of another model or recipe.
    """
    return [
        f"{variant} on {dataset}, seed {seed}: {trial.run['steps']} steps; the profile asks for "
        f"{score.variant.recipe.steps}."
        for (variant, dataset), score in scores.items()
        for seed, trial in score.trials.items()
        if trial.run and trial.run["steps"] != score.variant.recipe.steps
    ]


def _environment_points(scores: Scores) -> list[str]:
    """Return a sentence for each package version or device in which the seeds of one row differ."""
    rows: dict[tuple[str, str], list[str]] = {}
    for (variant, dataset), score in scores.items():
        runs = [trial.run for trial in score.trials.values() if trial.run]
        environments = [{"device": run.get("device"), **run.get("versions", {})} for run in runs]
        for name in dict.fromkeys(name for environment in environments for name in environment):
            values = {str(environment.get(name) or "not recorded") for environment in environments}
            if len(values) > 1:
                rows.setdefault((name, _listed(sorted(values))), []).append(f"{variant} on {dataset}")
    return [
        f"Seeds of the same row differ in {name} ({values}): {', '.join(found)}."
        for (name, values), found in rows.items()
    ]


def _trials(scores: Scores, dataset: str | None = None) -> list[ScoredTrial]:
    """Return the scored trials on a data set, or all."""
    found = [score for (_, name), score in scores.items() if dataset in (name, None)]
    return [trial for score in found for trial in score.trials.values()]


def _values(trials: Iterable[ScoredTrial], name: str) -> list[Any]:
    """Return one of the facts about each trial whose records have it."""
    return [value for trial in trials if (value := _facts(trial).get(name)) is not None]


def _facts(trial: ScoredTrial) -> dict[str, Any]:
    facts = {"images evaluated": trial.result["num_images"]}
    if run := trial.run:
        commit = run["git_commit"]
        facts |= {
            "steps": run["steps"],
            "batch size": run["variant"]["recipe"]["batch_size"],
            "workers": run["workers"],
            "data": run["data_manifest"][:12],
            "commit": commit and commit[:12] + ("-dirty" if commit.endswith("-dirty") else ""),
        }
    return facts


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, dict.fromkeys(values)))
