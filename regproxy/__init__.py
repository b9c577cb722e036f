"""Semantic segmentation by early region proxy: the paper's models, data, training and evaluation."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from regproxy.inference.load import load
    from regproxy.inference.prediction import Prediction
    from regproxy.inference.trained_model import TrainedModel
    from regproxy.model.build import build as build_model

    __version__: str

__all__ = ["Prediction", "TrainedModel", "__version__", "build_model", "load"]

_SOURCES = {
    "Prediction": ("regproxy.inference.prediction", "Prediction"),
    "TrainedModel": ("regproxy.inference.trained_model", "TrainedModel"),
    "build_model": ("regproxy.model.build", "build"),
    "load": ("regproxy.inference.load", "load"),
}


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import regproxy` does not load torch."""
    if name == "__version__":
        from importlib.metadata import version

        return version("regproxy")
    if name in _SOURCES:
        module, attribute = _SOURCES[name]
        return getattr(importlib.import_module(module), attribute)
    raise AttributeError(f"module 'regproxy' has no attribute {name!r}")
