"""Describe how two state dicts differ."""

from collections.abc import Mapping

from torch import Tensor


def describe_differences(
    expected: Mapping[str, Tensor], given: Mapping[str, Tensor], *, check_dtypes: bool = True
) -> str:
    """Return the differences in names, shapes and dtypes in one line of text, or "" if there are none.

    Args:
        expected: the state dict of the network, for example on the meta device.
        given: the state dict that was read from a file.
        check_dtypes: whether tensors of another dtype are a difference.
    """
    common = [name for name in expected if name in given]
    differences = {
        "missing": [name for name in expected if name not in given],
        "superfluous": [name for name in given if name not in expected],
        "of another shape": [
            f"{name} {list(given[name].shape)} instead of {list(expected[name].shape)}"
            for name in common
            if given[name].shape != expected[name].shape
        ],
        "of another dtype": [
            f"{name} {given[name].dtype} instead of {expected[name].dtype}"
            for name in common
            if check_dtypes and given[name].dtype != expected[name].dtype
        ],
    }
    return "; ".join(f"{kind}: {', '.join(items)}" for kind, items in differences.items() if items)
