"""Stage `report`: tables and pictures of a profile, rebuilt from the records alone.

python -m pipelines.report <profile>
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipelines.stage import profile_stage
from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile
from regproxy.report import figures
from regproxy.report.aggregate import Scores, collect, read_complexity
from regproxy.report.document import write_report
from regproxy.report.layout import Column, Document, Grid
from regproxy.runs.shared_storage import Exchange
from regproxy.storage.atomic import replaced_directory

_PLAIN_WIDTH = 180  # characters, where the output goes to a file or a pipe


def report(profile_name: str) -> int:
    """Writes reports/<profile> in one go and prints its tables; returns the exit status."""
    profile = load_profile(profile_name)
    scores = collect(profile, results_dir=Path("results"), runs_dir=Path("runs"))
    complexity = read_complexity(Path("complexity") / f"{profile.name}.json")
    out = Path("reports") / profile.name
    with replaced_directory(out, marker="tables.csv") as directory:
        pictures = draw_figures(profile, scores, directory / "figures")
        names = [path.relative_to(directory).as_posix() for path in pictures]
        document = write_report(profile, scores, complexity, directory, figures=names)
    if exchange := Exchange.from_environment():
        exchange.keep_report(profile_name)
    show(document, Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH))
    print(
        f"report is {out}/report.html; tables are in tables.md, tables.csv and tables.tex beside it, "
        f"{len(names)} pictures in {out}/figures/"
    )
    return 0


def draw_figures(profile: Profile, scores: Scores, directory: Path) -> list[Path]:
    """Draws curves and predictions of every data set; returns the files in the order they are shown."""
    directory.mkdir()
    drawn = []
    for data in profile.datasets:
        curves = directory / f"curves-{data.name}.png"
        drawn += [curves] if figures.training_curves(scores, data, curves) else []
        prepared = Path("data/prepared") / profile.name / data.name
        drawn += figures.predictions(profile, scores, data, data_dir=prepared, out=directory)
    return drawn


def show(document: Document, console: Console) -> None:
    """Prints the report, all but its pictures."""
    for text in document.sentences:
        console.print(text, markup=False, highlight=False)
    for section in document.sections:
        if section.pictures:
            continue
        console.print(f"\n{section.title}", style="italic", markup=False, highlight=False)
        for text in (*section.sentences, *(f"- {point}" for point in section.points)):
            console.print(text, markup=False, highlight=False)
        if section.grid:
            for part in parts(section.grid, console.width):
                console.print(drawn_table(part))
            for note in section.grid.notes:
                console.print(note, style="dim", markup=False, highlight=False)


def parts(grid: Grid, width: int) -> list[Grid]:
    """Returns a grid cut into as few as fit `width` characters side by side, each with all labels."""
    labels, pieces, used = grid.columns[: grid.labels], [], width
    for column in grid.columns[grid.labels :]:
        if used + _width(column) > width:
            pieces.append([*labels])
            used = 2 + sum(map(_width, labels))
        pieces[-1].append(column)
        used += _width(column)
    return [replace(grid, columns=tuple(piece)) for piece in pieces]


def _width(column: Column) -> int:
    return 2 + max(cell_len(text) for text in (column.head, *(entry.text for entry in column.entries)))


def drawn_table(grid: Grid) -> Table:
    """Returns a grid as rich draws it; texts are never read as markup."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for place, head in enumerate(grid.header):
        table.add_column(Text(head), justify="right" if place >= grid.labels else "left", overflow="fold")
    for index, line in enumerate(grid.lines):
        texts = [Text(entry.text, style="bold" if entry.bold else "") for entry in line]
        table.add_row(*texts, end_section=index + 1 in grid.breaks)
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(report, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
