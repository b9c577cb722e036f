"""Stage `report`: write the tables and pictures of a profile from its records.

python -m pipelines.report <profile>
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from pipelines.stage import profile_stage
from pipelines.tracking.uploader import Uploader
from regproxy.config.profile_file import load_profile
from regproxy.data.statistics import read_statistics
from regproxy.figures.all_figures import draw_figures
from regproxy.report.aggregate import collect, read_complexity
from regproxy.report.document import write_report
from regproxy.report.terminal import print_report
from regproxy.runs.search_record import RESULT, read_result
from regproxy.runs.shared_storage import SharedStorage
from regproxy.storage.atomic import atomic_folder

_FILE_WIDTH = 180  # characters per line if the output is a file or a pipe


def report(profile_name: str) -> int:
    """Write reports/<profile> atomically and print its tables; return the exit status, 0."""
    profile = load_profile(profile_name)
    scores = collect(profile, results_dir=Path("results"), runs_dir=Path("runs"))
    complexity = read_complexity(Path("complexity") / f"{profile.name}.json")
    search_result = read_result(Path("search") / profile.name / RESULT)
    out = Path("reports") / profile.name
    with Uploader(profile_name) as uploader:  # it imports MLflow while the report is drawn
        with atomic_folder(out, marker="tables.csv") as directory:
            prepared = Path("data/prepared") / profile.name
            figures = draw_figures(
                profile,
                scores,
                complexity,
                prepared_dir=prepared,
                search_result=search_result,
                out=directory / "figures",
            )
            document = write_report(
                profile,
                scores,
                complexity,
                directory,
                figures=figures,
                statistics={data.name: read_statistics(prepared / data.name) for data in profile.datasets},
            )
        uploader.add_report(out)
    if storage := SharedStorage.from_environment():
        storage.upload_report(profile_name)
    print_report(document, Console(width=None if sys.stdout.isatty() else _FILE_WIDTH))
    print(
        f"The report is {out}/report.html. The same folder has tables.md, tables.csv and tables.tex, "
        f"and the pictures in figures/."
    )
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(report, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
