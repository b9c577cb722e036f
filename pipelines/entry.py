"""How a stage starts and fails: one argument, the profile; a user's error is one line and status 1."""

import argparse
import sys
from collections.abc import Callable, Sequence


def profile_stage(stage: Callable[[str], int], description: str, arguments: Sequence[str] | None) -> int:
    """Runs `stage` on the profile named on the command line and returns its exit status.

    A ValueError (ConfigError and DataError are such) is what a user can mend: its message goes to
    standard error without a traceback.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", help="the name of a file in pipelines/profiles, without .yaml")
    try:
        return stage(parser.parse_args(arguments).profile)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
