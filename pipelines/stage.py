"""How a stage starts and fails: one argument, the profile; a user's error is one line and status 1."""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType


def profile_stage(
    stage: Callable[..., int],
    description: str,
    arguments: Sequence[str] | None,
    *,
    flags: Mapping[str, str] = MappingProxyType({}),
) -> int:
    """Runs `stage` on the profile named on the command line and returns its exit status.

    `flags` are switches of the stage, by name with their help; the stage takes each as a keyword.

    A stage that DVC runs ends, as by SIGTERM, when DVC has been killed: nobody would take up what it makes.

    A ValueError (ConfigError and DataError are such) is what a user can mend: its message goes to
    standard error without a traceback. Ctrl-C and SIGTERM end it with 128 and the signal's number.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("profile", help="the name of a file in pipelines/profiles, without .yaml")
    for name, text in flags.items():
        parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
    options = vars(parser.parse_args(arguments))
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_end_with_parent, name="end-with-dvc", daemon=True).start()
    try:
        return stage(options.pop("profile"), **options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        number = signal.Signals(getattr(interrupt, "number", signal.SIGINT))
        print(f"stopped by {number.name}: what is done is kept, run again to go on", file=sys.stderr)
        return 128 + number


def _end_with_parent(every_s: float = 1.0) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(every_s)
    os.kill(os.getpid(), signal.SIGTERM)
