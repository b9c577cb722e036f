"""The command line: `regproxy predict`, `regions`, `complexity`, `plan`, `fetch` and `import-official`.

Experiments run in the pipeline (`dvc repro`). These commands label images with a trained model, draw the
regions that it learned, count the operations of networks, estimate the cost of a profile on a cluster,
download the runs of a cluster, and convert released weights. Each has a file with its options.
"""

import argparse
import sys
from collections.abc import Sequence

import regproxy
from regproxy.cli import complexity, fetch, import_official, plan, predict, regions
from regproxy.errors import UserError, file_system_errors

_EXTRAS = {"onnx": "export", "onnxruntime": "export", "onnxscript": "export"}  # package -> extra of regproxy


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    A UserError, or a package that only an extra of regproxy installs, becomes one line on standard error and
    status 1. Any other exception is a bug and shows its traceback.
    """
    parser = argparse.ArgumentParser(
        prog="regproxy", description="RegProxy: predictions, regions, costs, weights."
    )
    parser.add_argument("--version", action="version", version=f"regproxy {regproxy.__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (predict, regions, complexity, plan, fetch, import_official):
        command.add(commands)
    options = parser.parse_args(arguments)
    try:
        with file_system_errors():
            return options.run_command(options)
    except ModuleNotFoundError as error:
        if error.name not in _EXTRAS:
            raise
        extra = _EXTRAS[error.name]
        print(f"error: this command needs {error.name}: pip install 'regproxy[{extra}]'", file=sys.stderr)
        return 1
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
