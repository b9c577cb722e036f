"""The command line: `regproxy <command>`. Each command has a file with its options.

Experiments run in the pipeline (`dvc repro`). These commands describe and check a user's own data, use
trained models, estimate costs, and fetch or convert weights.
"""

import argparse
import sys
from collections.abc import Sequence

import regproxy
from regproxy.cli import (
    check_data,
    complexity,
    evaluate,
    export,
    fetch,
    import_official,
    new,
    plan,
    predict,
    regions,
)
from regproxy.errors import UserError, file_system_errors

_COMMANDS = (new, check_data, predict, evaluate, regions, export, complexity, plan, fetch, import_official)
_EXTRAS = {"onnx": "export", "onnxruntime": "export", "onnxscript": "export"}  # package -> extra of regproxy


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    A UserError, or a package that only an extra of regproxy installs, becomes one line on standard error and
    status 1. Any other exception is a bug and shows its traceback.
    """
    parser = argparse.ArgumentParser(
        prog="regproxy", description="RegProxy: data, predictions, scores, regions, costs, weights."
    )
    parser.add_argument("--version", action="version", version=f"regproxy {regproxy.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in _COMMANDS:
        command.add(commands)
    options = parser.parse_args(arguments)
    try:
        with file_system_errors():
            return options.run_command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        extra = _EXTRAS[error.name]
        print(f"error: this command needs {error.name}: pip install 'regproxy[{extra}]'", file=sys.stderr)
        return 1
