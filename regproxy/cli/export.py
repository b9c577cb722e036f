"""`regproxy export`: a trained network as a file for ONNX Runtime or torch.export."""

import argparse
from pathlib import Path

_SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2"}


def add(commands: argparse._SubParsersAction) -> None:
    """Add the command and its options."""
    command = commands.add_parser(
        "export",
        help="write a trained network as an ONNX or torch.export file",
        description="The file takes RGB pixels, uint8 (B, 3, X, Y), of any batch and size, and normalises "
        "them. It returns logits and, with --with-upsampling, labels. The command compares the file with the "
        "network and writes nothing if less than 99.99 %% of the pixels have the same class.",
    )
    command.add_argument("source", help="run folder, such as runs/demo/ade20k/4x4/0")
    command.add_argument("--format", choices=tuple(_SUFFIXES), default="onnx", help="default: %(default)s")
    command.add_argument(
        "--out", type=Path, help="file to write (default: the variant's name, such as 4x4.onnx)"
    )
    command.add_argument(
        "--with-upsampling", action="store_true", help="also return the class of every pixel, uint8 (B, X, Y)"
    )
    command.add_argument(
        "--normalised-input", action="store_true", help="take normalised float32 images instead of pixels"
    )
    command.set_defaults(run_command=_run)


def _run(options: argparse.Namespace) -> int:
    import regproxy
    from regproxy.export.export_file import export

    model = regproxy.load(options.source, "cpu")
    out = options.out or Path(model.variant.name + _SUFFIXES[options.format])
    agreements = export(
        model,
        out,
        format=options.format,
        upsample=options.with_upsampling,
        normalised_input=options.normalised_input,
    )
    backbone = model.network.backbone
    if backbone.has_fixed_size:
        height, width = model.variant.evaluation.window
        print(f"{out} takes any batch of images of {height} x {width} pixels: the backbone has a fixed size")
    else:
        print(f"{out} takes any batch of images of any size")
    for one in agreements:
        print(
            f"compared on {list(one.shape)}: {one.equal:.4%} of the pixels have the same class, "
            f"logits differ by at most {one.difference:.1e}"
        )
    return 0
