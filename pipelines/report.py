"""Stage `report`: tables and pictures of a profile, rebuilt from the records alone.

python -m pipelines.report <profile>
"""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipelines.entry import profile_stage
from regproxy.data.atomic import replaced_directory
from regproxy.profile import Profile
from regproxy.profile_file import load_profile
from regproxy.report import figures, tables
from regproxy.report.aggregate import Scores, collect


def report(profile_name: str) -> int:
    """Writes reports/<profile> in one go and prints its tables; returns the exit status."""
    profile = load_profile(profile_name)
    scores = collect(profile, results_dir=Path("results"), runs_dir=Path("runs"))
    out = Path("reports") / profile.name
    with replaced_directory(out, marker="tables.csv") as directory:
        pictures = draw_figures(profile, scores, directory / "figures")
        names = [path.relative_to(directory).as_posix() for path in pictures]
        tables.write_tables(profile, scores, directory, figures=names)
    show(profile, scores, Console())
    print(f"tables are in {out}/tables.md and {out}/tables.csv, {len(names)} pictures in {out}/figures/")
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


def show(profile: Profile, scores: Scores, console: Console) -> None:
    """Prints the tables."""
    console.print(tables.sentence(profile), highlight=False)
    for table in profile.tables:
        header, lines = tables.table_cells(profile, table, scores)
        shown = Table(title=table.title, title_justify="left")
        for place, name in enumerate(header):
            shown.add_column(name, justify="right" if place else "left", overflow="fold")
        for line in lines:
            shown.add_row(*line)
        console.print(shown, markup=False)
    missing = tables.missing_sentence(scores)
    if missing:
        console.print(missing, style="yellow", highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(report, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
