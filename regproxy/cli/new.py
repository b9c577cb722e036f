"""`regproxy new`: a profile for a user's own images and labels."""

import argparse
import os
from pathlib import Path

from regproxy.errors import ConfigError


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    from regproxy.suggest.settings import PRETRAIN

    command = commands.add_parser(
        "new",
        help="write a profile for your own images and labels",
        description="Look at images and labels, write pipelines/profiles/NAME.yaml and select it in "
        "params.yaml. Then `dvc repro` prepares, trains, scores and reports.",
    )
    command.add_argument("name", help="of the profile: letters, digits, - and _")
    command.add_argument(
        "--images", type=Path, required=True, help="folder of images, such as photos or data/{split}/photos"
    )
    command.add_argument("--labels", type=Path, required=True, help="folder of labels with the images' names")
    classes = command.add_mutually_exclusive_group()
    classes.add_argument(
        "--classes", help="names in the order of the label values: road,car or a text file with one a line"
    )
    classes.add_argument("--colours", type=Path, help="table (CSV) of name,r,g,b for labels that are colours")
    command.add_argument(
        "--void",
        type=_void,
        nargs="+",
        default=[],
        metavar="VALUE",
        help="label values, or colours such as #e0e0c0, that count nowhere",
    )
    command.add_argument(
        "--pretrain", choices=PRETRAIN, default="augreg", help="weights to start from (default: %(default)s)"
    )
    command.add_argument("--steps", type=int, help="training steps (default: from the number of images)")
    command.add_argument(
        "--device", help="cpu or cuda: a CPU gets a smaller training (default: cuda if available)"
    )
    command.add_argument("--force", action="store_true", help="replace an existing profile")
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.model.device import default_device, named_device
    from regproxy.suggest.new_profile import new_profile

    device = named_device(options.device) if options.device else default_device()
    created = new_profile(
        options.name,
        options.images,
        options.labels,
        classes=_names(options.classes),
        colours=options.colours,
        void=options.void,
        pretrain=options.pretrain,
        steps=options.steps,
        gpu=device.type == "cuda",
        replace=options.force,
    )
    print(created)
    return 0


def _names(text: str | None) -> list[str]:
    """Return class names from a list with commas, or from the lines of a file."""
    if text is None:
        return []
    if os.path.isfile(text):  # Path.is_file raises OSError for a long list
        try:
            lines = Path(text).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise ConfigError(f"--classes: {text} is not UTF-8. Save it as UTF-8.") from None
    elif text.endswith(".txt"):
        raise ConfigError(f"--classes: the file {text} is missing. Correct its path.")
    else:
        lines = text.split(",")
    return [line.strip() for line in lines if line.strip()]


def _void(text: str) -> int | tuple[int, ...]:
    """Return a label value, or the RGB colour of #rrggbb."""
    try:
        return tuple(bytes.fromhex(text[1:7])) if len(text) == 7 and text[0] == "#" else int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected integers or colours such as #e0e0c0, with spaces between them; got {text!r}"
        ) from None
