"""`regproxy complexity`: parameters and operations of the networks of profiles."""

import argparse
import json
from typing import Any

from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant

_ROW = "{:9} {:9} {:6} {:9} {:>6} {:>12} {:>9} {:>9}"
_PAPER_PROFILES = ("paper", "paper-main")


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "complexity",
        help="count parameters, GFLOPs in the paper's way and GMACs of every operator",
        description="Count every network of a profile at 512 x 512 and 150 classes.",
    )
    command.add_argument("--json", action="store_true", help="print a list of objects")
    command.add_argument(
        "--profile",
        action="append",
        help="name of a profile, or path of a .yaml file; repeatable (default: paper and paper-main)",
    )
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.plan.complexity import complexity

    networks: dict[tuple, dict[str, Any]] = {}
    for profile in options.profile or _PAPER_PROFILES:
        for variant in load_profile(profile).variants:
            if _structure(variant) not in networks:
                networks[_structure(variant)] = complexity(variant)
    if options.json:
        print(json.dumps(list(networks.values()), indent=1))
        return 0
    print(_ROW.format("arch", "head", "region", "conv", "levels", "parameters", "GFLOPs*", "GMACs"))
    for network in networks.values():
        region = "x".join(map(str, network["region"])) if network["region"] else "-"
        levels = 3 if network["multi_level"] else 1
        structure = network["arch"], network["head"], region, network["conv"] or "-", levels
        costs = f"{network['params']:,}", f"{network['gflops_paper']:.4f}", f"{network['gmacs']:.4f}"
        print(_ROW.format(*structure, *costs))
    print("one 512 x 512 image, 150 classes; * counted in the paper's way, without attention")
    return 0


def _structure(variant: Variant) -> tuple:
    """Return what determines a network's cost; its weights and its tap do not."""
    model = variant.model
    return model.arch, model.backbone, model.head, model.region, model.conv, model.multi_level
