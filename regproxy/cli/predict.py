"""`regproxy predict`: label maps of a user's own images."""

import argparse

from regproxy.cli.image_command import (
    add_device_argument,
    add_image_arguments,
    add_output_arguments,
    run_on_images,
)


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "predict",
        help="label images with a trained model",
        description="Write classes.csv and a label map of each image: a PNG of class ids, with the classes' "
        "colours as its palette. Images are resized and windowed as in the model's evaluation.",
    )
    add_image_arguments(command)
    add_output_arguments(command)
    add_device_argument(command)
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.inference.label_maps import predict_files

    return run_on_images(
        predict_files,
        options,
        action="predicting",
        product="label maps",
        scales=options.scales,
        overlay=options.overlay,
        confidence=options.confidence,
        save_ids=options.save_ids,
    )
