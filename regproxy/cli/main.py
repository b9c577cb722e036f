"""The command line: `regproxy predict`, `complexity`, `plan` and `import-official`.

What runs experiments is the pipeline (`dvc repro`); these use a trained model, look at networks, say what a
profile will cost and bring weights in.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant

_LINE = "{:9} {:9} {:6} {:9} {:>6} {:>12} {:>9} {:>9}"
_PAPER = ("paper", "paper-main")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status; a user's mistake is one line on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run_command(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
    except OSError as error:
        print(f"error: {error}, give another place", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="regproxy", description="RegProxy: predictions, costs, weights.")
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser(
        "predict",
        help="label images with a trained model",
        description="Writes a label map for each image (a PNG of class ids with the classes' colours as its "
        "palette) and classes.csv, with the scale and windows of the model's evaluation.",
    )
    command.add_argument("run", type=Path, help="folder of a run, such as runs/demo/ade20k/4x4/0")
    command.add_argument("images", type=Path, nargs="+", help="images, or folders of images")
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.add_argument(
        "--overlay", action="store_true", help="also write pictures, half image, half colours"
    )
    command.add_argument("--multi-scale", action="store_true", help="average over scales and mirror images")
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if there is one)")
    command.set_defaults(run_command=_predict)

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
    command.set_defaults(run_command=_complexity)

    command = commands.add_parser(
        "plan",
        help="simulate a profile's trainings on a cluster: makespan, utilisation, GPU hours, cost",
        description="Longest training first, as the grid does. Speeds come from --speeds, else from finished "
        "runs under runs/<profile>, else they are assumed from each network's multiply-adds.",
    )
    command.add_argument("--profile", required=True, help="a file in pipelines/profiles, without .yaml")
    command.add_argument("--gpus", type=int, required=True, help="GPUs of the cluster")
    command.add_argument("--workers", type=int, help="workers of one training (default: the profile's)")
    command.add_argument(
        "--speeds", type=Path, help="JSON file: variant or architecture to images/s of one GPU"
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
    command.add_argument("--price", type=float, help="of one GPU hour, to print the cost")
    command.add_argument("--json", action="store_true", help="print one object, with every training")
    command.set_defaults(run_command=_plan)

    command = commands.add_parser(
        "import-official",
        help="turn one of the authors' released checkpoints into a folder that load_model reads",
        description="Recognises architecture, region size and classes from the keys; accounts for every key.",
    )
    command.add_argument("checkpoint", type=Path, help="a .pth file of the authors' release")
    command.add_argument("--out", type=Path, required=True, help="the folder to make")
    command.add_argument("--dataset", choices=("ade20k", "cityscapes"), help="what it was trained on")
    command.set_defaults(run_command=_import_official)
    return parser


def _predict(options: argparse.Namespace) -> int:
    import torch

    from regproxy.cli.label_maps import predict_files
    from regproxy.cli.progress_bar import shown

    with shown("predicting", "images") as progress:
        problems = predict_files(
            options.run,
            options.images,
            options.out,
            device=options.device or ("cuda" if torch.cuda.is_available() else "cpu"),
            multi_scale=options.multi_scale,
            overlay=options.overlay,
            progress=progress,
        )
    print(f"label maps are in {options.out}/")
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _complexity(options: argparse.Namespace) -> int:
    from regproxy.plan.complexity import complexity

    networks: dict[tuple, dict[str, Any]] = {}
    for profile in options.profile or _PAPER:
        for variant in load_profile(profile).variants:
            if _structure(variant) not in networks:
                networks[_structure(variant)] = complexity(variant)
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


def _structure(variant: Variant) -> tuple:
    """What a network's cost depends on: neither its weights nor the block that it taps."""
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
        recorded=recorded_speeds(Path("runs") / profile.name, assumptions),
    )
    result = plan(profile, gpus=options.gpus, workers=options.workers, assumptions=assumptions, speeds=speeds)
    show = as_json if options.json else as_text
    print(show(result, profile.name, assumptions, options.price))
    return 0


def _import_official(options: argparse.Namespace) -> int:
    from regproxy.released.checkpoint_import import import_official

    variant = import_official(options.checkpoint, options.out, dataset=options.dataset)
    region = "x".join(map(str, variant.model.region))
    print(f"{variant.model.arch}, region {region}, classes of {variant.data.name} -> {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
