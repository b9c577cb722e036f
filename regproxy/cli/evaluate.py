"""`regproxy evaluate`: scores of a trained model on prepared or raw data."""

import argparse
from pathlib import Path
from typing import Any

from regproxy.cli.image_command import add_device_argument, add_output_arguments, add_source_argument
from regproxy.config.formats import FORMATS, SPLITS
from regproxy.errors import ConfigError


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "evaluate",
        help="score a trained model on a data set",
        description="Print the IoU, boundary IoU and accuracy of every class, and their means, computed as "
        "in the pipeline. Data with other classes than the model's are matched by name.",
    )
    add_source_argument(command)
    command.add_argument(
        "--data",
        required=True,
        help="PROFILE/DATASET, a folder of prepared data, or a folder with images and labels",
    )
    command.add_argument("--split", choices=SPLITS, default="val", help="(default: %(default)s)")
    command.add_argument("--format", choices=FORMATS, help="of a folder with images and labels")
    command.add_argument("--out", type=Path, help="folder for result.json, images.csv and predictions/")
    add_output_arguments(command, confidence=False)
    add_device_argument(command)
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    from regproxy.cli.progress_bar import progress_bar
    from regproxy.inference.evaluation import Files, evaluate
    from regproxy.raw.folders import text_of

    if options.out is None and (options.overlay or options.save_ids):
        raise ConfigError("--overlay and --save-ids write files: add --out FOLDER")
    files = None if options.out is None else Files(options.out, options.overlay, options.save_ids)
    with progress_bar("scoring", "images") as progress:
        record = evaluate(
            options.source,
            options.data,
            split=options.split,
            format=options.format,
            scales=options.scales,
            files=files,
            device=options.device,
            progress=progress,
        )
    for line in _lines(record):
        print(line)
    if options.out is not None:
        print(f"the record is {text_of(options.out / 'result.json')}")
    return 0


def _lines(record: dict[str, Any]) -> list[str]:
    """Return the table of the classes and the means of a record, in percent."""
    columns = [record[key] for key in ("iou_per_class", "boundary_iou_per_class", "accuracy_per_class")]
    classes, present = record["classes"], sum(value is not None for value in columns[0])
    width = max(map(len, (*classes, "class")))
    lines = [f"{'class':{width}}    IoU  boundary IoU  accuracy"]
    for name, *values in zip(classes, *columns, strict=True):
        iou, boundary, accuracy = map(_percent, values)
        lines.append(f"{name:{width}} {iou:>6} {boundary:>13} {accuracy:>9}")
    left_out = "" if present == len(classes) else f" ({present} of {len(classes)} classes present)"
    multi_scale = record["multi_scale"]
    return [
        *lines,
        "",
        f"{record['dataset']}, split {record['split']}: {record['num_images']} images, in percent",
        f"mIoU {_percent(record['miou'])}{left_out}",
        *([f"multi-scale mIoU {_percent(multi_scale['miou'])}"] if multi_scale else []),
        f"boundary IoU {_percent(record['boundary_iou'])}",
        f"pixel accuracy {_percent(record['pixel_accuracy'])}",
        f"mean accuracy {_percent(record['mean_accuracy'])}",
    ]


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
