"""The tables of a profile: for readers (Markdown, terminal) and for programs (CSV), from records only."""

import csv
import io
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from regproxy.profile import Profile, Row, Table
from regproxy.report.aggregate import Outcome, Score, Scores

CSV_COLUMNS = (
    *("table", "row", "cell", "dataset", "seeds_found", "seeds_wanted"),
    *("median", "min", "max", "published", "params", "gflops"),
)
_NOTHING = "–"


def write_tables(profile: Profile, scores: Scores, directory: Path, *, figures: Sequence[str] = ()) -> None:
    """Writes `tables.md` and `tables.csv` into a directory, each whole or not at all.

    Args:
        profile: gives the tables and their order.
        scores: from `aggregate.collect`.
        directory: where the files go; it exists.
        figures: paths of pictures relative to `directory`, shown at the end of `tables.md`.
    """
    _write(directory / "tables.md", markdown(profile, scores, figures))
    _write(directory / "tables.csv", csv_text(profile, scores))


def markdown(profile: Profile, scores: Scores, figures: Sequence[str] = ()) -> str:
    """Returns the report as Markdown: what was run, the tables, the pictures."""
    seeds = ", ".join(map(str, profile.seeds))
    blocks = [
        f"# Results of profile {profile.name}",
        f"{sentence(profile)} Seeds: {seeds}. Parameters and GFLOPs, counted the paper's way for one "
        f"512 x 512 crop, are those of a row's model on the first data set.",
        _markdown_table(*what_was_run(profile, scores)),
    ]
    missing = missing_sentence(scores)
    blocks += [missing] if missing else []
    for table in profile.tables:
        blocks += [f"## {table.title}", _markdown_table(*table_cells(profile, table, scores))]
    if figures:
        blocks += ["## Figures", *(f"![{Path(name).stem}]({name})" for name in figures)]
    return "\n\n".join(blocks) + "\n"


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


def what_was_run(profile: Profile, scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Returns header and lines, one a data set, of what the records say about the runs behind the tables."""
    header = ["data set", "scored runs", "steps", "batch size", "workers"]
    header += ["images evaluated", "data manifest", "commit"]
    lines = []
    for data in profile.datasets:
        here = [score for (_, dataset), score in scores.items() if dataset == data.name]
        outcomes = [outcome for score in here for outcome in score.outcomes.values()]

        def of_runs(read: Callable[[Any], Any], outcomes: list[Outcome] = outcomes) -> str:
            return _distinct(read(outcome.run) for outcome in outcomes if outcome.run)

        lines.append(
            [
                data.name,
                f"{len(outcomes)} of {sum(len(score.seeds) for score in here)}",
                of_runs(lambda run: run["steps"]),
                of_runs(lambda run: run["cell"]["recipe"]["batch_size"]),
                of_runs(lambda run: run["workers"]),
                _distinct(outcome.result["num_images"] for outcome in outcomes),
                of_runs(lambda run: run["data_manifest"][:12]),
                of_runs(lambda run: _short_commit(run["git_commit"])),
            ]
        )
    return header, lines


def table_cells(profile: Profile, table: Table, scores: Scores) -> tuple[list[str], list[list[str]]]:
    """Returns header and lines of a table as text; published values have columns only where there are any."""
    header = ["", "params (M)", "GFLOPs"]
    lines = [[row.label, *_model_cells(profile, row, scores)] for row in table.rows]
    for data in profile.datasets:
        published = any(data.name in row.published for row in table.rows)
        header += [data.name, "published", "difference"] if published else [data.name]
        for line, row in zip(lines, table.rows, strict=True):
            score = scores.get((row.cell, data.name))
            line.append(_score_cell(score))
            line += _published_cells(score, row.published.get(data.name)) if published else []
    return header, lines


def csv_text(profile: Profile, scores: Scores) -> str:
    """Returns the long form: one line a row and data set, mIoU in percent, empty where there is no value."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_COLUMNS, lineterminator="\n")
    writer.writeheader()
    places = [
        (table, row, data.name) for table in profile.tables for row in table.rows for data in profile.datasets
    ]
    for table, row, dataset in places:
        score = scores.get((row.cell, dataset))
        if score is None:
            continue
        median, low, high = (round(value, 4) for value in score.summary) if score.summary else (None,) * 3
        writer.writerow(
            {
                "table": table.name,
                "row": row.label,
                "cell": row.cell,
                "dataset": dataset,
                "seeds_found": len(score.outcomes),
                "seeds_wanted": len(score.seeds),
                "median": median,
                "min": low,
                "max": high,
                "published": row.published.get(dataset),
                "params": score.first("num_parameters"),
                "gflops": score.first("gflops_paper"),
            }
        )
    return text.getvalue()


def _model_cells(profile: Profile, row: Row, scores: Scores) -> list[str]:
    keys = [(row.cell, data.name) for data in profile.datasets if (row.cell, data.name) in scores]
    params, gflops = (scores[keys[0]].first(key) for key in ("num_parameters", "gflops_paper"))
    return [
        _NOTHING if params is None else f"{params / 1e6:.2f}",
        _NOTHING if gflops is None else f"{gflops:.2f}",
    ]


def _score_cell(score: Score | None) -> str:
    if score is None:
        return _NOTHING
    if score.summary is None:
        return f"{len(score.outcomes)} of {len(score.seeds)}"
    median, low, high = score.summary
    return f"{median:.2f}" if len(score.seeds) == 1 else f"{median:.2f} ({low:.2f}–{high:.2f})"


def _published_cells(score: Score | None, published: float | None) -> list[str]:
    if published is None:
        return [_NOTHING, _NOTHING]
    if score is None or score.summary is None:
        return [f"{published:.2f}", _NOTHING]
    # Of the rounded median, so that the columns of a printed line agree; 0.0 takes the sign off a zero.
    difference = round(round(score.summary[0], 2) - published, 2) + 0.0
    return [f"{published:.2f}", f"{difference:+.2f}"]


def _short_commit(commit: str | None) -> str | None:
    return commit and commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")


def _distinct(values: Iterable[object]) -> str:
    return ", ".join(str(value) for value in dict.fromkeys(values) if value is not None) or _NOTHING


def _markdown_table(header: list[str], lines: list[list[str]]) -> str:
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in (header, *lines)]
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(line) + " |" for line in (escaped[0], rule, *escaped[1:]))


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
