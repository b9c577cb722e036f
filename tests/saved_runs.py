"""A run folder with random weights, for the tests of the command line."""

import dataclasses
import json
from pathlib import Path

import torch
from smoke_profile import SMOKE_VARIANTS

from regproxy.config.variant import Variant
from regproxy.model.build import build
from regproxy.runs.saved_model import save_model

SMOKE = SMOKE_VARIANTS["cityscapes", "region-4x4"]
STATISTICS = {"image_mean": (100.0, 130.0, 160.0), "image_std": (20.0, 40.0, 30.0)}  # not ImageNet's
VARIANT = dataclasses.replace(SMOKE, recipe=dataclasses.replace(SMOKE.recipe, **STATISTICS))


def make_run(folder: Path, variant: Variant = VARIANT) -> Path:
    """Write a run folder with random weights."""
    folder.mkdir()
    torch.manual_seed(0)
    save_model(build(variant), folder)
    (folder / "run.json").write_text(json.dumps({"variant": variant.to_dict()}))
    return folder
