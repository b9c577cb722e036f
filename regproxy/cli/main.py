"""The command line: `regproxy predict`, `evaluate`, `regions`, `complexity`, `plan` and `import-official`.

Experiments run in the pipeline (`dvc repro`). These commands label images with a trained model, score it,
draw the regions that it learned, count the operations of networks, estimate the cost of a profile on a
cluster, and convert released weights. Each has a file with its options.
"""

import argparse
import sys
from collections.abc import Sequence

from regproxy.cli import complexity, evaluate, import_official, plan, predict, regions
from regproxy.errors import UserError, file_system_errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    A UserError becomes one line on standard error and status 1. Any other exception is a bug and shows its
    traceback.
    """
    parser = argparse.ArgumentParser(
        prog="regproxy", description="RegProxy: predictions, scores, regions, costs, weights."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in (predict, evaluate, regions, complexity, plan, import_official):
        command.add(commands)
    options = parser.parse_args(arguments)
    try:
        with file_system_errors():
            return options.run_command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
