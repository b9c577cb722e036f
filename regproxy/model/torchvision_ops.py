"""Lets timm import torchvision beside a CPU build of torch.

PyPI offers torchvision for CUDA only. Its Python part works with any build of torch, but on import it
registers shape functions for the operators `nms` and `qnms`, which its compiled part, unusable here, would
have defined. Declaring them is all that is missing; nothing in this project calls them.
"""

import importlib.util
from pathlib import Path

import torch

_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_missing_operators() -> None:
    """Declares the operators where torch is a CPU build and they are absent; harmless to call again."""
    if torch.version.cuda is not None or _all_present():
        return
    _load_compiled_part()  # a torchvision that does fit defines them itself, and must be the only one to
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
        except OSError:  # linked against CUDA libraries that this torch does not have
            continue
