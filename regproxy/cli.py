"""The command line: `regproxy complexity`, `regproxy import-official`.

What runs experiments is the pipeline (`dvc repro`); these look at networks and bring weights in.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regproxy.config import Cell
from regproxy.profile_file import load_profile

_LINE = "{:9} {:9} {:6} {:9} {:>6} {:>12} {:>9} {:>9}"
_PAPER = ("paper", "paper-main")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status; a user's mistake is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="regproxy", description="RegProxy: networks, costs, weights.")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser(
        "complexity",
        help="parameters, GFLOPs the paper's way and GMACs of every operator",
        description="Counts every network of a profile at 512 x 512 and 150 classes.",
    )
    command.add_argument("--json", action="store_true", help="print a list of objects")
    command.add_argument(
        "--profile",
        action="append",
        help=f"a file in pipelines/profiles, without .yaml; repeatable (default: {' and '.join(_PAPER)})",
    )
    command.set_defaults(run=_complexity)

    command = commands.add_parser(
        "import-official",
        help="turn one of the authors' released checkpoints into a folder that load_model reads",
        description="Recognises architecture, region size and classes from the keys; accounts for every key.",
    )
    command.add_argument("checkpoint", type=Path, help="a .pth file of the authors' release")
    command.add_argument("--out", type=Path, required=True, help="the folder to make")
    command.add_argument("--dataset", choices=("ade20k", "cityscapes"), help="what it was trained on")
    command.set_defaults(run=_import_official)
    return parser


def _complexity(options: argparse.Namespace) -> int:
    from regproxy.complexity import complexity

    networks: dict[tuple, dict[str, Any]] = {}
    for profile in options.profile or _PAPER:
        for cell in load_profile(profile).cells:
            if _structure(cell) not in networks:
                networks[_structure(cell)] = complexity(cell)
    if options.json:
        print(json.dumps(list(networks.values()), indent=1))
        return 0
    print(_LINE.format("arch", "head", "region", "conv", "levels", "parameters", "GFLOPs*", "GMACs"))
    for one in networks.values():
        region = "x".join(map(str, one["region"])) if one["region"] else "-"
        costs = f"{one['params']:,}", f"{one['gflops_paper']:.4f}", f"{one['gmacs']:.4f}"
        levels = 3 if one["multi_level"] else 1
        print(_LINE.format(one["arch"], one["head"], region, one["conv"] or "-", levels, *costs))
    print("one 512 x 512 image, 150 classes; * counted the paper's way, without attention")
    return 0


def _structure(cell: Cell) -> tuple:
    """What a network's cost depends on: neither its weights nor the block that it taps."""
    model = cell.model
    return model.arch, model.backbone, model.head, model.region, model.conv, model.multi_level


def _import_official(options: argparse.Namespace) -> int:
    from regproxy.official import import_official

    cell = import_official(options.checkpoint, options.out, dataset=options.dataset)
    region = "x".join(map(str, cell.model.region))
    print(f"{cell.model.arch}, region {region}, classes of {cell.data.name} -> {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
