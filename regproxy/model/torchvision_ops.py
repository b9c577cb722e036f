"""Make torchvision, which timm imports, work with a CPU build of torch.

PyPI offers torchvision for CUDA only. Its Python part works with every build of torch, but its import fails
without the operators `nms` and `qnms` of its compiled part, which a CPU build of torch cannot load. Declaring
the two operators is enough; this project never calls them.
"""

import contextlib
import functools
import importlib.util
from pathlib import Path

import torch


@functools.cache
def declare_missing_operators() -> None:
    """Declare the operators if torch is a CPU build and they are missing. Repeated calls do nothing."""
    package = importlib.util.find_spec("torchvision")
    if torch.version.cuda is not None or package is None or package.origin is None:
        return
    # The compiled part defines them if it fits this torch. A second definition would be an error.
    for library in Path(package.origin).parent.glob("_C.*"):
        with contextlib.suppress(OSError):  # it needs CUDA libraries that this torch does not have
            torch.ops.load_library(library)
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", signature)
