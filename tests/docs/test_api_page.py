"""The library's page and notebook: their code runs."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from smoke_profile import SMOKE_VARIANTS

from regproxy.inference.trained_model import TrainedModel
from regproxy.model.build import build

DOCS = Path(__file__).parents[2] / "docs"


def test_the_library_section_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (DOCS / "api.md").read_text().split("## Command line")[0]
    program = "\n".join(re.findall(r"```python\n(.*?)```", section, flags=re.S))
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    variant = SMOKE_VARIANTS["ade20k", "region-4x4"]
    TrainedModel(build(variant), variant).save_pretrained("runs/demo/ade20k/4x4/0")
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    for name in ("photo.jpg", "photo.png"):
        Image.fromarray(pixels).save(name)
    names: dict[str, object] = {}
    exec(compile(program, "api.md", "exec"), names)
    assert names["ids"].shape == names["heat"].shape == (60, 80)
    assert len(names["results"]) == 2 and Path("overlay.png").exists()


@pytest.mark.integration
def test_the_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(DOCS / "api.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": str(DOCS)}}).execute()
    assert (
        [cell for cell in notebook.cells if cell.cell_type == "code"][-1].outputs[0].text.endswith("True\n")
    )


def test_the_notebook_is_small() -> None:
    assert (DOCS / "api.ipynb").stat().st_size < 300_000
