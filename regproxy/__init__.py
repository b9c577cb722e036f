"""Semantic segmentation by early region proxy: the paper's models, data, training and evaluation."""

from typing import Any

__all__ = ["build", "load_model"]


def __getattr__(name: str) -> Any:
    """Fetches the public functions when they are first used, so that `import regproxy` stays light."""
    if name in __all__:
        from regproxy.model.build import build
        from regproxy.runs.saved_model import load_model

        return {"build": build, "load_model": load_model}[name]
    raise AttributeError(f"module 'regproxy' has no attribute {name!r}")
