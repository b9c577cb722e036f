"""Stage `report`: write the tables and pictures of a profile from its records.

python -m pipelines.report <profile>
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipelines.stage import profile_stage
from pipelines.tracking.uploader import Uploader
from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile
from regproxy.report import figures
from regproxy.report.aggregate import Scores, collect, read_complexity
from regproxy.report.document import write_report
from regproxy.report.layout import Picture
from regproxy.report.terminal import print_report
from regproxy.runs.shared_storage import SharedStorage
from regproxy.storage.atomic import atomic_folder

_FILE_WIDTH = 180  # characters per line if the output is a file or a pipe


def report(profile_name: str) -> int:
    """Write reports/<profile> atomically and print its tables; return the exit status, 0."""
    profile = load_profile(profile_name)
    scores = collect(profile, results_dir=Path("results"), runs_dir=Path("runs"))
    complexity = read_complexity(Path("complexity") / f"{profile.name}.json")
    out = Path("reports") / profile.name
    with atomic_folder(out, marker="tables.csv") as directory:
        pictures = draw_figures(profile, scores, directory / "figures")
        document = write_report(profile, scores, complexity, directory, figures=pictures)
    with Uploader(profile_name) as uploader:
        uploader.add_report(out)
    if storage := SharedStorage.from_environment():
        storage.upload_report(profile_name)
    print_report(document, Console(width=None if sys.stdout.isatty() else _FILE_WIDTH))
    print(
        f"The report is {out}/report.html. The same folder has tables.md, tables.csv and tables.tex, "
        f"and {len(pictures)} pictures in figures/."
    )
    return 0


def draw_figures(profile: Profile, scores: Scores, directory: Path) -> list[Picture]:
    """Draw curves and predictions of every data set; return them in the order of the report."""
    directory.mkdir()
    drawn = []
    for data in profile.datasets:
        drawn += figures.training_curves(scores, data, out=directory)
        prepared = Path("data/prepared") / profile.name / data.name
        drawn += figures.predictions(profile, scores, data, data_dir=prepared, out=directory)
    return drawn


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(report, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
