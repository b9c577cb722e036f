"""`regproxy regions`: pictures of the learned regions of a user's own images."""

import argparse

from regproxy.cli.image_command import add_device_argument, add_image_arguments, run_on_images


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "regions",
        help="draw the regions that a trained model learned on images",
        description="Write classes.csv and four files for each image. NAME-borders.png: the image with the "
        "borders of its regions. NAME-regions.png: 16 bits a pixel, the id of the token that the pixel most "
        "probably belongs to; an id is token row * columns + column. NAME-heat.png: the probability of each "
        "pixel to belong to some tokens. NAME-tokens.csv: id, place, class, entropy and share of the pixels "
        "of every token.",
    )
    add_image_arguments(command)
    command.add_argument(
        "--tokens",
        nargs="+",
        action="extend",
        default=[],
        metavar="ROW,COLUMN",
        help="tokens of the heat picture, from 0,0 at the top left (default: some of rare, some of large "
        "classes)",
    )
    add_device_argument(command)
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.inference.region_pictures import draw_region_files

    return run_on_images(
        draw_region_files, options, action="drawing", product="pictures of regions", tokens=options.tokens
    )
