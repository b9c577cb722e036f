"""Fixtures of the tests of released checkpoints."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from released_weights import ADE20K, small_grid
from torch import Tensor


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder that is deleted after the test, because whole checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def tiny() -> dict[str, Tensor]:
    """Return a narrow Ti/16 with a position embedding for 2 x 2 patches."""
    return small_grid(next(name for name in ADE20K if "-t16-" in name))
