"""What the commands that run a trained model share: their arguments, and running on a user's own images."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from regproxy.config.formats import FORMATS
from regproxy.errors import ConfigError

_SOURCE = "a trained model: a run folder such as runs/demo/ade20k/4x4/0, or another source of regproxy.load"


def add_source_argument(command: argparse.ArgumentParser) -> None:
    """Add the model to a command."""
    command.add_argument("source", help=_SOURCE)


def add_image_arguments(command: argparse.ArgumentParser) -> None:
    """Add the model, the images and the output folder to a command."""
    add_source_argument(command)
    command.add_argument("images", type=Path, nargs="+", help="images, or folders of images")
    command.add_argument("--out", type=Path, required=True, help="folder to write to")
    command.add_argument(
        "--image-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="values of 16-bit and float images that become black and white",
    )


def add_output_arguments(command: argparse.ArgumentParser, *, confidence: bool = True) -> None:
    """Add the scales of a prediction and the choice of files that are written for each image."""
    command.add_argument(
        "--scales",
        type=float,
        nargs="*",
        metavar="RATIO",
        help="average over ratios, each also flipped (without a ratio: those of the model's evaluation)",
    )
    command.add_argument(
        "--overlay", action="store_true", help="write images blended with the classes' colours and a legend"
    )
    if confidence:
        command.add_argument(
            "--confidence",
            action="store_true",
            help="write the probability of the predicted class: 8-bit grey, value / 255",
        )
    command.add_argument(
        "--save-ids",
        choices=[name for name, spec in FORMATS.items() if spec.values],
        help="write label maps for a test server: the format's own label values, without a palette",
    )


def add_device_argument(command: argparse.ArgumentParser) -> None:
    """Add the device of the network."""
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if available)")


def run_on_images(
    function: Callable[..., Any],
    options: argparse.Namespace,
    *,
    action: str,
    product: str,
    **settings: Any,
) -> int:
    """Call a function on the images, show its progress and print what it skipped or could not read.

    Args:
        function: such as `predict_files`.
        options: source, images, out, image_range and device.
        action: what the progress bar says, such as "predicting".
        product: what is written, such as "label maps".
        settings: further arguments of the function.

    Returns:
        The exit status: 1 if an image failed, else 0.
    """
    from regproxy.cli.progress_bar import progress_bar
    from regproxy.raw.folders import text_of

    if options.image_range is not None and not options.image_range[0] < options.image_range[1]:
        low, high = options.image_range
        raise ConfigError(f"the image range is invalid: expected LOW < HIGH; got {low:g} and {high:g}")
    with progress_bar(action, "images") as progress:
        files, problems = function(
            options.source,
            options.images,
            options.out,
            device=options.device,
            image_range=options.image_range,
            progress=progress,
            **settings,
        )
    total = len(files.sources)
    print(f"{product} are in {text_of(options.out)}/ ({total - len(problems)} of {total} images)")
    for line in files.skipped_lines():
        print(f"warning: {line}", file=sys.stderr)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0
