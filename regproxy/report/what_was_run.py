"""The runs behind the numbers of a report, and how they differ from the paper's."""

from collections.abc import Callable, Iterable
from typing import Any

from regproxy.config.profile import Profile
from regproxy.report.aggregate import ScoredTrial, Scores
from regproxy.report.layout import NO_VALUE, Column, Section, TextTable, text_column

_PAPER_SEEDS = 3
_RUN_VALUES: dict[str, Callable[[dict[str, Any]], Any]] = {  # name in the report -> value in a run record
    "steps": lambda run: run["steps"],
    "batch size": lambda run: run["variant"]["recipe"]["batch_size"],
    "workers": lambda run: run["workers"],
    "data manifest": lambda run: run["data_manifest"][:12],
    "commit": lambda run: _short_commit(run["git_commit"]),
}


def summary_sentence(profile: Profile) -> str:
    """Return a sentence that explains the numbers in the tables."""
    if len(profile.seeds) == 1:
        return "The tables show validation mIoU in percent, of a single run (1 seed)."
    return f"The tables show validation mIoU in percent: median (min–max) of {len(profile.seeds)} seeds."


def missing_sentence(scores: Scores) -> str | None:
    """Return a sentence on trials without a result and the remedy; None if every trial has one."""
    wanted = sum(len(score.seeds) for score in scores.values())
    found = sum(len(score.trials) for score in scores.values())
    if found == wanted:
        return None
    return (
        f"{wanted - found} of {wanted} trials have no result yet: run `dvc repro`. An incomplete entry shows "
        f"how many seeds it has instead of a median."
    )


def runs_table(profile: Profile, scores: Scores) -> TextTable:
    """Return what was run: one line per data set, with all values that occur in its runs."""
    found = {data.name: _scored_trials(scores, data.name) for data in profile.datasets}
    wanted = dict.fromkeys(found, 0)
    for (_, dataset), score in scores.items():
        wanted[dataset] += len(score.seeds)

    def run_columns(*names: str) -> list[Column]:
        return [
            text_column(name, [_listed(_run_values(trials, name)) or NO_VALUE for trials in found.values()])
            for name in names
        ]

    images = [_listed(trial.result["num_images"] for trial in trials) for trials in found.values()]
    columns = (
        text_column("data set", list(found)),
        text_column("scored runs", [f"{len(trials)} of {wanted[name]}" for name, trials in found.items()]),
        *run_columns("steps", "batch size", "workers"),
        text_column("images evaluated", [text or NO_VALUE for text in images]),
        *run_columns("data manifest", "commit"),
    )
    return TextTable(columns=columns)


def deviations(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with the profile's notes and the deviations in its records; None without any."""
    points = [*profile.notes]
    if len(profile.seeds) != _PAPER_SEEDS:
        seeds = "1 seed" if len(profile.seeds) == 1 else f"{len(profile.seeds)} seeds"
        points.append(f"The paper reports the median of {_PAPER_SEEDS} runs; here, a variant has {seeds}.")
    for data in profile.datasets:
        trials = _scored_trials(scores, data.name)
        for name in ("steps", "batch size"):
            values = set(_run_values(trials, name))
            if len(values) > 1:
                points.append(f"Runs on {data.name} differ in {name}: {_listed(sorted(values))}.")
    all_trials = [trial for score in scores.values() for trial in score.trials.values()]
    commits = [commit for commit in _run_values(all_trials, "commit") if commit]
    dirty = sum(commit.endswith("-dirty") for commit in commits)
    if dirty:
        points.append(f"{dirty} of {len(commits)} runs were trained with uncommitted changes (`-dirty`).")
    if len(set(commits)) > 1:
        points.append(f"The runs come from {len(set(commits))} commits: {_listed(commits)}.")
    points += environment_points(scores)
    accepted = sum("accepted_sources" in {**(trial.run or {}), **trial.result} for trial in all_trials)
    if accepted:
        points.append(
            f"{accepted} of {len(all_trials)} runs, or their scores, were kept after an edit of the source "
            f"code (`--accept-source`)."
        )
    if not points:
        return None
    return Section(name="deviations", title="Deviations from the paper", points=tuple(points))


def environment_points(scores: Scores) -> list[str]:
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


def _scored_trials(scores: Scores, dataset: str) -> list[ScoredTrial]:
    on_dataset = [score for (_, name), score in scores.items() if name == dataset]
    return [trial for score in on_dataset for trial in score.trials.values()]


def _run_values(trials: Iterable[ScoredTrial], name: str) -> list[Any]:
    return [_RUN_VALUES[name](trial.run) for trial in trials if trial.run]


def _short_commit(commit: str | None) -> str | None:
    return commit and commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _listed(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in dict.fromkeys(values) if value is not None)
