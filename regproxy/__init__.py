"""Semantic segmentation by early region proxy: the paper's models, data, training and evaluation."""

from typing import Any

__all__ = ["build", "load_model"]


def __getattr__(name: str) -> Any:
    """Fetches the public functions when they are first used, so that `import regproxy` stays light."""
    if name in __all__:
        from regproxy.model import network

        return getattr(network, name)
    raise AttributeError(f"module 'regproxy' has no attribute {name!r}")
