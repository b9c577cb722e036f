"""Make torchvision, which timm imports, work with a CPU build of torch.

PyPI offers torchvision for CUDA only. Its Python part works with every build of torch, but its import fails
without the operators `nms` and `qnms` of its compiled part, which a CPU build of torch cannot load. Declaring
the two operators is enough; this project never calls them.
"""

import importlib.util
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_operators() -> None:
    """Declare the operators if torch is a CPU build and they are missing. Repeated calls do nothing."""
    if torch.version.cuda is not None or _all_present():
        return
    _load_compiled_part()  # defines them if it fits this torch; a second definition would be an error
    for name in _OPERATORS:
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", _SIGNATURE)


def _all_present() -> bool:
    return all(hasattr(torch.ops.torchvision, name) for name in _OPERATORS)


def _load_compiled_part() -> None:
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return
    for library in Path(package.origin).parent.glob("_C.*"):
        try:
            torch.ops.load_library(library)
        except OSError:  # it needs CUDA libraries that this torch does not have
            continue
