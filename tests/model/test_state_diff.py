"""Differences between two state dicts: names, shapes and dtypes."""

import torch

from regproxy.model.state_diff import describe_differences


def test_differences_are_described_by_kind() -> None:
    expected = {"a": torch.ones(2), "b": torch.ones(3), "c": torch.ones(1), "d": torch.ones(1)}
    given = {
        "a": torch.ones(2),
        "b": torch.ones(4),
        "c": torch.ones(1, dtype=torch.float64),
        "e": torch.ones(1),
    }
    names_and_shapes = "missing: d; superfluous: e; of another shape: b [4] instead of [3]"
    assert describe_differences(expected, given, check_dtypes=False) == names_and_shapes
    dtypes = "of another dtype: c torch.float64 instead of torch.float32"
    assert describe_differences(expected, given) == f"{names_and_shapes}; {dtypes}"
    assert describe_differences(expected, dict(reversed(expected.items()))) == ""
