"""Semantic segmentation by early region proxy: the paper's models, data, training and evaluation."""

import importlib
from typing import Any

__all__ = ["__version__", "build_model", "load"]

_SOURCES = {
    "build_model": ("regproxy.model.build", "build"),
    "load": ("regproxy.inference.load", "load"),
}


def __getattr__(name: str) -> Any:
    """Import the public functions when they are first used, so that `import regproxy` does not load torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("regproxy")
    if name in _SOURCES:
        module, function = _SOURCES[name]
        return getattr(importlib.import_module(module), function)
    raise AttributeError(f"module 'regproxy' has no attribute {name!r}")
