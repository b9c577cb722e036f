"""`regproxy predict`: label maps of a user's own images."""

import argparse

from regproxy.cli.image_command import add_image_arguments, run_on_images


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "predict",
        help="label images with a trained model",
        description="Write classes.csv and a label map of each image: a PNG of class ids, with the classes' "
        "colours as its palette. Images are resized and windowed as in the model's evaluation.",
    )
    add_image_arguments(command)
    command.add_argument(
        "--overlay", action="store_true", help="also write images blended with the classes' colours"
    )
    command.add_argument("--multi-scale", action="store_true", help="average over scales and flips")
    command.add_argument("--device", help="cpu, cuda, cuda:1 ... (default: cuda if available)")
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.inference.label_maps import predict_files

    settings = {"multi_scale": options.multi_scale, "overlay": options.overlay}
    return run_on_images(predict_files, options, action="predicting", product="label maps", **settings)
