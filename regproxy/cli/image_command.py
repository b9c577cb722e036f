"""What `regproxy predict` and `regproxy regions` share: a trained model on a user's own images."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def add_image_arguments(command: argparse.ArgumentParser) -> None:
    """Add the run folder, the images and the output folder to a command."""
    command.add_argument("run", type=Path, help="run folder, such as runs/demo/ade20k/4x4/0")
    command.add_argument("images", type=Path, nargs="+", help="images, or folders of images")
    command.add_argument("--out", type=Path, required=True, help="folder to write to")


def run_on_images(
    function: Callable[..., list[str]],
    options: argparse.Namespace,
    *,
    action: str,
    product: str,
    **settings: Any,
) -> int:
    """Call a function on the images, show its progress and print what it could not read.

    Args:
        function: such as `predict_files`; returns one message for each image that failed.
        options: run, images, out and device.
        action: what the progress bar says, such as "predicting".
        product: what is written, such as "label maps".
        settings: further arguments of the function.

    Returns:
        The exit status: 1 if an image failed, else 0.
    """
    from regproxy.cli.progress_bar import progress_bar
    from regproxy.inference.image_files import skipped_files
    from regproxy.model.device import default_device

    device = options.device or default_device()
    with progress_bar(action, "images") as progress:
        problems = function(
            options.run, options.images, options.out, device=device, progress=progress, **settings
        )
    print(f"{product} are in {options.out}/")
    skipped = skipped_files(options.images, options.out)
    if skipped:
        names = ", ".join(map(str, skipped[:5])) + (", ..." if len(skipped) > 5 else "")
        print(f"warning: skipped {len(skipped)} files that are not JPEG or PNG: {names}", file=sys.stderr)
    for problem in problems:
        print(f"error: {problem}", file=sys.stderr)
    return 1 if problems else 0
