"""Make torchvision, which timm imports, work with a CPU build of torch.

PyPI offers torchvision for CUDA only. Its Python part works with every build of torch, but its import fails
without the operators `nms` and `qnms` of its compiled part, which a CPU build of torch cannot load. Declaring
the two operators is enough; this project never calls them.

Importing timm also loads torch's compiler, which takes a third of the time until a network is loaded. A
stand-in avoids this.
"""

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch


@functools.cache
def declare_missing_operators() -> None:
    """Declare the operators if torch is a CPU build and they are missing, then import timm.

    Repeated calls do nothing.
    """
    package = importlib.util.find_spec("torchvision")
    if package is None or package.origin is None:
        return
    if torch.version.cuda is None:
        _declare(package.origin)
    _import_timm()


def _declare(origin: str) -> None:
    # The compiled part defines them if it fits this torch. A second definition would be an error.
    for library in Path(origin).parent.glob("_C.*"):
        with contextlib.suppress(OSError):  # it needs CUDA libraries that this torch does not have
            torch.ops.load_library(library)
    signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", signature)


def _import_timm() -> None:
    """Import timm with a stand-in for torch's compiler, and with it torchvision.

    They need two functions of the compiler, for operators and networks that this project never calls. The
    stand-ins import the compiler when they are called. Afterwards torch can import its compiler as usual.
    """
    if {"torch._dynamo", "timm"} & sys.modules.keys():
        return
    compiler, functions = ModuleType("torch._dynamo"), ModuleType("torch._dynamo.utils")
    compiler.disable = _disable_when_called
    functions.is_compile_supported = lambda device: _real("torch._dynamo.utils").is_compile_supported(device)
    sys.modules |= {module.__name__: module for module in (compiler, functions)}
    try:
        importlib.import_module("timm")
    finally:
        for module in (compiler, functions):
            del sys.modules[module.__name__]


def _disable_when_called(function: Callable[..., Any], *options: Any, **named: Any) -> Callable[..., Any]:
    """Return a function that `torch.compiler.disable` excludes from compilation when it is first called."""

    @functools.cache
    def excluded() -> Callable[..., Any]:
        return _real("torch._dynamo").disable(function, *options, **named)

    return functools.wraps(function)(lambda *args, **kwargs: excluded()(*args, **kwargs))


def _real(name: str) -> ModuleType:
    return importlib.import_module(name)
