"""The time until a network is loaded: torch's compiler is not imported, and works when it is needed."""

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
import sys, regproxy
regproxy.load(sys.argv[1], "cpu")
assert "torch._dynamo" not in sys.modules
import torch
from torch._dynamo.testing import CompileCounter
from torch._dynamo.utils import is_compile_supported
from torchvision.ops import roi_align
assert sys.modules[roi_align.__module__].is_compile_supported("cpu") == is_compile_supported("cpu")
from timm.models.naflexvit import NaFlexRopeIterator
assert NaFlexRopeIterator.__init__  # timm was imported whole
from regproxy.model.torchvision_ops import _disable_when_called
counter = CompileCounter()
torch.compile(lambda x: x.sin() + 1, backend=counter)(torch.ones(2))
assert counter.frame_count == 1
torch.compile(_disable_when_called(lambda x: x.sin() + 1), backend=counter)(torch.ones(2))
"""


@pytest.mark.integration
def test_a_network_loads_without_the_compiler(run: Path) -> None:
    result = subprocess.run([sys.executable, "-c", CODE, str(run)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
