"""The command line: `regproxy predict`, `complexity`, `plan` and `import-official`.

Experiments run in the pipeline (`dvc repro`). These commands label images with a trained model, count the
operations of networks, estimate the cost of a profile on a cluster, and convert released weights.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant
from regproxy.errors import UserError, file_system_errors

_COMPLEXITY_ROW = "{:9} {:9} {:6} {:9} {:>6} {:>12} {:>9} {:>9}"
_PAPER_PROFILES = ("paper", "paper-main")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    A UserError becomes one line on standard error and status 1. Any other exception is a bug and shows its
    traceback.
    """
    options = _parser().parse_args(arguments)
    try:
        with file_system_errors():
            return options.run_command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="regproxy", description="RegProxy: predictions, costs, weights.")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser(
        "predict",
        help="label images with a trained model",
        description="Write classes.csv and a label map of each image: a PNG of class ids, with the classes' "
        "colours as its palette. Images are resized and windowed as in the model's evaluation.",
    )
    command.add_argument("run", type=Path, help="run folder, such as runs/demo/ade20k/4x4/0")
    command.add_argument("images", type=Path, nargs="+", help="images, or folders of images")
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.add_argument(
        "--overlay", action="store_true", help="also write images blended with the classes' colours"
    )
    command.add_argument("--multi-scale", action="store_true", help="average over scales and flips")
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if available)")
    command.set_defaults(run_command=_predict)

    command = commands.add_parser(
        "complexity",
        help="count parameters, GFLOPs in the paper's way and GMACs of every operator",
        description="Count every network of a profile at 512 x 512 and 150 classes.",
    )
    command.add_argument("--json", action="store_true", help="print a list of objects")
    command.add_argument(
        "--profile",
        action="append",
        help="a file in pipelines/profiles, without .yaml; repeatable (default: paper and paper-main)",
    )
    command.set_defaults(run_command=_complexity)

    command = commands.add_parser(
        "plan",
        help="simulate a profile's trainings on a cluster: makespan, utilisation, GPU hours, cost",
        description="The longest training starts first, as in the pipeline. Speeds come from --speeds, else "
        "from finished runs in <runs>/<profile>, else from an estimate by each network's multiply-adds.",
    )
    command.add_argument("--profile", required=True, help="a file in pipelines/profiles, without .yaml")
    command.add_argument("--gpus", type=int, required=True, help="GPUs of the cluster")
    command.add_argument("--runs", type=Path, default=Path("runs"), help="folder (default: %(default)s)")
    command.add_argument("--workers", type=int, help="workers of one training (default: the profile's)")
    command.add_argument(
        "--speeds", type=Path, help="JSON object: images/s of one GPU by variant or architecture"
    )
    command.add_argument(
        "--tflops", type=float, help="peak of one GPU (default: A100, 312 bf16, 19.5 float32)"
    )
    command.add_argument("--mfu", type=float, default=0.35, help="share of the peak (default: %(default)s)")
    command.add_argument(
        "--efficiency",
        type=float,
        default=0.9,
        help="speed that each worker after the first adds (default: %(default)s)",
    )
    command.add_argument(
        "--startup", type=float, default=30.0, help="seconds before each training (default: %(default)s)"
    )
    command.add_argument("--price", type=float, help="price of one GPU hour, to print the cost")
    command.add_argument("--json", action="store_true", help="print one object, with every training")
    command.set_defaults(run_command=_plan)

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
    command.set_defaults(run_command=_import_official)
    return parser


def _predict(options: argparse.Namespace) -> int:
    from regproxy.cli.label_maps import predict_files, skipped_files
    from regproxy.cli.progress_bar import progress_bar
    from regproxy.model.device import default_device

    with progress_bar("predicting", "images") as progress:
        problems = predict_files(
            options.run,
            options.images,
            options.out,
            device=options.device or default_device(),
            multi_scale=options.multi_scale,
            overlay=options.overlay,
            progress=progress,
        )
    print(f"label maps are in {options.out}/")
    skipped = skipped_files(options.images, options.out)
    if skipped:
        names = ", ".join(map(str, skipped[:5])) + (", ..." if len(skipped) > 5 else "")
        print(f"warning: skipped {len(skipped)} files that are not JPEG or PNG: {names}", file=sys.stderr)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _complexity(options: argparse.Namespace) -> int:
    from regproxy.plan.complexity import complexity

    networks: dict[tuple, dict[str, Any]] = {}
    for profile in options.profile or _PAPER_PROFILES:
        for variant in load_profile(profile).variants:
            if _structure(variant) not in networks:
                networks[_structure(variant)] = complexity(variant)
    if options.json:
        print(json.dumps(list(networks.values()), indent=1))
        return 0
    print(
        _COMPLEXITY_ROW.format("arch", "head", "region", "conv", "levels", "parameters", "GFLOPs*", "GMACs")
    )
    for network in networks.values():
        region = "x".join(map(str, network["region"])) if network["region"] else "-"
        levels = 3 if network["multi_level"] else 1
        structure = network["arch"], network["head"], region, network["conv"] or "-", levels
        costs = f"{network['params']:,}", f"{network['gflops_paper']:.4f}", f"{network['gmacs']:.4f}"
        print(_COMPLEXITY_ROW.format(*structure, *costs))
    print("one 512 x 512 image, 150 classes; * counted in the paper's way, without attention")
    return 0


def _structure(variant: Variant) -> tuple:
    """Return what determines a network's cost; its weights and its tap do not."""
    model = variant.model
    return model.arch, model.backbone, model.head, model.region, model.conv, model.multi_level


def _plan(options: argparse.Namespace) -> int:
    from regproxy.plan.simulation import plan
    from regproxy.plan.speeds import Assumptions, Speeds, read_speeds, recorded_speeds
    from regproxy.plan.text import as_json, as_text

    profile = load_profile(options.profile)
    assumptions = Assumptions(
        tflops=options.tflops,
        mfu=options.mfu,
        efficiency=options.efficiency,
        startup_seconds=options.startup,
    )
    speeds = Speeds(
        given=read_speeds(options.speeds) if options.speeds else {},
        recorded=recorded_speeds(options.runs / profile.name, assumptions),
    )
    result = plan(profile, gpus=options.gpus, workers=options.workers, assumptions=assumptions, speeds=speeds)
    render = as_json if options.json else as_text
    print(render(result, profile.name, assumptions, options.price))
    return 0


def _import_official(options: argparse.Namespace) -> int:
    from regproxy.released.checkpoint_import import import_official

    variant = import_official(options.checkpoint, options.out, dataset=options.dataset)
    region = "x".join(map(str, variant.model.region))
    print(f"{variant.model.arch}, region {region}, classes of {variant.data.name} -> {options.out}")
    return 0
