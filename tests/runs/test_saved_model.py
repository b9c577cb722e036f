"""Weights in a run folder: only those that fit the run's network are loaded."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from smoke_profile import SMOKE_VARIANTS

from regproxy.errors import DataError
from regproxy.model.build import build
from regproxy.runs.saved_model import load_model, load_variant, save_model

VARIANT = SMOKE_VARIANTS["ade20k", "region-4x4"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_dtype_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    """`assign=True` would adopt the dtype of the file without a word."""
    save_model(build(VARIANT), tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"variant": VARIANT.to_dict()}))
    assert next(load_model(tmp_path).parameters()).dtype == torch.float32
    file = tmp_path / "model.safetensors"
    weights = load_file(file)
    save_file({**weights, "classifier.bias": weights["classifier.bias"].to(dtype)}, file)
    with pytest.raises(DataError, match=f"classifier.bias {dtype} instead of torch.float32"):
        load_model(tmp_path)
    save_file({name: tensor.to(dtype) for name, tensor in weights.items()}, file)
    with pytest.raises(DataError, match="another dtype"):
        load_model(tmp_path)


def test_a_record_with_the_former_keys_of_splits_is_read(tmp_path: Path) -> None:
    content = VARIANT.to_dict()
    content["data"] |= {"train_split": "training", "val_split": "validation"}
    (tmp_path / "run.json").write_text(json.dumps({"variant": content}))
    assert load_variant(tmp_path) == VARIANT
