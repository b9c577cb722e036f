"""`regproxy import-official`: one of the authors' released checkpoints as a run folder."""

import argparse
from pathlib import Path


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "import-official",
        help="convert one of the authors' released checkpoints to a folder that regproxy.load reads",
        description="Derive architecture, region size and classes from the tensors. Every tensor must fit.",
    )
    command.add_argument("checkpoint", type=Path, help="a .pth file of the authors' release")
    command.add_argument("--out", type=Path, required=True, help="folder to create")
    command.add_argument(
        "--dataset", choices=("ade20k", "cityscapes"), help="data set that it was trained on"
    )
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.released.checkpoint_import import import_official

    variant = import_official(options.checkpoint, options.out, dataset=options.dataset)
    region = "x".join(map(str, variant.model.region))
    print(f"{variant.model.arch}, region {region}, classes of {variant.data.name} -> {options.out}")
    return 0
