"""The sections on the runs themselves: when, where, on what and how long they ran, and how to repeat them."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from regproxy.config.profile import Profile
from regproxy.report.aggregate import Scores
from regproxy.report.layout import NO_VALUE, Column, Section, TextTable, data_title


def how_it_ran(profile: Profile, scores: Scores) -> Section | None:
    """Return the section with a line per data set: dates, hosts, devices, durations; None without a run."""
    lines, every_run = [], []
    for data in profile.datasets:
        found = [score for (_, name), score in scores.items() if name == data.name]
        trials = [trial for score in found for trial in score.trials.values() if trial.run]
        runs = [trial.run for trial in trials]
        if not runs:
            continue
        every_run += runs
        seconds = [run["seconds"] for run in runs if "seconds" in run]
        lines.append(
            {
                "data set": data_title(profile, data),
                "first training": _minute(min, runs, "started"),
                "last training": _minute(max, runs, "finished"),
                "host": _values(runs, "host"),
                "device": _values(runs, "device"),
                "training": _duration(sum(seconds)),
                "longest training": _duration(max(seconds, default=0)),
                "scoring": _duration(sum(trial.result.get("seconds", 0) for trial in trials)),
            }
        )
    if not lines:
        return None
    columns = tuple(Column(header, [line[header] for line in lines]) for header in lines[0])
    sentences = (
        "From the start of the first training to the end of the last one, in UTC. The durations of all "
        "trainings and scorings are added up, without waiting for resources; a training that was resumed "
        "counts from its last start.",
        f"Software: {_software(every_run)}.",
    )
    return Section(
        name="how-it-ran", title="How it ran", sentences=sentences, table=TextTable(columns=columns)
    )


def how_to_repeat(profile: Profile, scores: Scores) -> Section:
    """Return the section with the commands that repeat the runs, from the commit if all runs have one."""
    trials = (trial for score in scores.values() for trial in score.trials.values())
    commits = {trial.run["git_commit"] for trial in trials if trial.run}
    commit = commits.pop() if len(commits) == 1 else None
    checkout = [f"git checkout {commit.removesuffix('-dirty')}"] if commit else []
    choice = f"echo 'profiles: [{profile.name}]' > params.yaml"
    commands = "\n".join([*checkout, choice, "make repro"])
    sentences = ["In a new clone of the repository, these commands repeat everything:"]
    if commit and commit.endswith("-dirty"):
        sentences.insert(0, "The runs were trained with uncommitted changes, which the commit lacks.")
    return Section(name="repeat", title="How to repeat it", sentences=tuple(sentences), commands=(commands,))


def _minute(choose: Callable[..., str], runs: list[Mapping[str, Any]], key: str) -> str:
    """Return the first or last of the times under a key, to the minute; `choose` is min or max."""
    times = [run[key] for run in runs if run.get(key)]
    return f"{datetime.fromisoformat(choose(times)):%Y-%m-%d %H:%M}" if times else NO_VALUE


def _values(runs: list[Mapping[str, Any]], key: str) -> str:
    return ", ".join(dict.fromkeys(str(run[key]) for run in runs if run.get(key))) or NO_VALUE


def _software(runs: list[Mapping[str, Any]]) -> str:
    versions = [run.get("versions", {}) for run in runs]
    names = dict.fromkeys(name for one in versions for name in one)
    listed = {name: dict.fromkeys(one[name] for one in versions if name in one) for name in names}
    return ", ".join(f"{name} {'/'.join(found)}" for name, found in listed.items()) or NO_VALUE


def _duration(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
