"""Run one stage on a profile: parse the command line, report errors, handle signals."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from regproxy.errors import ConfigError, UserError, file_system_errors

_PARENT_POLL_INTERVAL_S = 1.0


def profile_stage(
    stage: Callable[..., int],
    description: str,
    arguments: Sequence[str] | None,
    *,
    flags: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Run `stage` on the profile named on the command line and return its exit status.

    A UserError becomes one line on standard error and status 1. Any other exception is a bug and shows its
    traceback. Ctrl-C and SIGTERM end the stage with 128 plus the number of the signal.

    If DVC runs the stage and is killed, the stage ends too, because no later stage would use its output.

    Args:
        stage: is called with the profile's name, and with each flag as a keyword.
        description: help text of the stage.
        arguments: the command line; None for that of this process.
        flags: help texts of the stage's switches by name.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", help="name of a file in pipelines/profiles, without .yaml")
    for name, text in flags.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
    options = vars(parser.parse_args(arguments))
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_terminate_with_parent, name="terminate-with-dvc", daemon=True).start()
    try:
        with file_system_errors():
            return stage(check_name(options.pop("profile")), **options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        number = signal.Signals(getattr(interrupt, "number", signal.SIGINT))
        print(f"Stopped by {number.name}. Run the command again to continue.", file=sys.stderr)
        return 128 + number


def check_name(profile: str) -> str:
    """Return the profile's name; raise ConfigError for a path, because DVC and the folders use the name."""
    if Path(profile).name != profile or profile.endswith((".yaml", ".yml")):
        raise ConfigError(
            f"profile: expected the name of a file in pipelines/profiles; got {profile!r}. "
            f"Put the file there and write {Path(profile).stem}."
        )
    return profile


def _terminate_with_parent() -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_INTERVAL_S)
    os.kill(os.getpid(), signal.SIGTERM)
