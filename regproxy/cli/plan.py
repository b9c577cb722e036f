"""`regproxy plan`: what a profile costs on a cluster."""

import argparse
from pathlib import Path

from regproxy.config.profile_file import load_profile


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "plan",
        help="simulate a profile's trainings on a cluster: makespan, utilisation, GPU hours, cost",
        description="The longest training starts first, as in the pipeline. Speeds come from --speeds, else "
        "from finished runs in <runs>/<profile>, else from an estimate by each network's multiply-adds.",
    )
    command.add_argument("--profile", required=True, help="name of a profile, or path of a .yaml file")
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
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
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
