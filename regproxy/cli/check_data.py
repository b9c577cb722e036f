"""`regproxy check-data`: whether a raw data set is fit for training."""

import argparse
import dataclasses
import re
import sys
from pathlib import Path

from regproxy.config.dataset import DataConfig
from regproxy.config.parse import choose
from regproxy.config.profile import Profile
from regproxy.config.profile_file import load_profile, resolve_profile
from regproxy.config.yaml_file import read_yaml
from regproxy.errors import ConfigError

_FILE_WIDTH = 140  # characters per line if the output is a file or a pipe


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "check-data",
        help="check the files of a data set, count its classes and draw a contact sheet",
        description="Decode every image and label of a profile's raw data sets, as prepare does, but write "
        "only a report: check.html, with the pixels of each class, mistakes and remedies, and "
        "contact-sheet.png. The exit status is 1 if prepare would refuse a data set.",
    )
    command.add_argument(
        "spec",
        metavar="PROFILE[/DATASET]",
        help="a profile, or one of its data sets; a profile is a name in pipelines/profiles or a .yaml file",
    )
    command.add_argument(
        "--out",
        type=Path,
        help="folder to write to (default: check-<data set>); several data sets get folders below it",
    )
    command.add_argument(
        "--allow-partial", action="store_true", help="accept another number of images than the official one"
    )
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from rich.console import Console

    from regproxy.cli.progress_bar import progress_bar
    from regproxy.data_check.check import PAGE, check_data_set
    from regproxy.report.terminal import print_report

    console = Console(width=None if sys.stdout.isatty() else _FILE_WIDTH)
    chosen, accepted = _data_sets(options.spec), True
    for entry in chosen:
        data = dataclasses.replace(entry, allow_partial=entry.allow_partial or options.allow_partial)
        out = options.out or Path(f"check-{data.name}")
        if options.out and len(chosen) > 1:
            out /= data.name
        with progress_bar(data.name, "pairs") as progress:
            document, is_accepted = check_data_set(data, out, progress=progress)
        print_report(document, console)
        print(f"The report is {out / PAGE}.\n")
        accepted = accepted and is_accepted
    return 0 if accepted else 1


def _data_sets(spec: str) -> list[DataConfig]:
    """Return the data sets that `PROFILE[/DATASET]` names; raise ConfigError for an unknown one."""
    file = re.fullmatch(r"(.+\.ya?ml)(?:/(.+))?", spec)
    profile = _read_file(Path(file[1])) if file else load_profile(spec.partition("/")[0])
    name = (file[2] if file else spec.partition("/")[2]) or None
    if name is None:
        return list(profile.datasets)
    choose(name, [data.name for data in profile.datasets], f"profile {profile.name}: data set")
    return [data for data in profile.datasets if data.name == name]


def _read_file(path: Path) -> Profile:
    try:
        return resolve_profile(path.stem, read_yaml(path))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: name a profile's .yaml file.") from None
