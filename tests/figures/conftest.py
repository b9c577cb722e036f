"""Trained runs for the tests of figures."""

import dataclasses
import json
from pathlib import Path

import pytest
from report_records import write

from regproxy.config.profile import Profile


@pytest.fixture
def trained(make_trial, profile: Profile, tmp_path: Path) -> tuple[Profile, Path]:
    """Both variants on ADE20K with random weights and one seed, in run folders; and the folder of shards."""
    import torch

    from regproxy.model.build import build
    from regproxy.runs.saved_model import save_model

    for name in ("linear", "region-4x4"):
        trial = make_trial(name)
        write(tmp_path, f"ade20k/{name}/0", 0.4)
        run_dir = tmp_path / f"runs/p/ade20k/{name}/0"
        torch.manual_seed(0)
        save_model(build(trial.variant), run_dir)
        record = json.loads((run_dir / "run.json").read_text()) | {"variant": trial.variant.to_dict()}
        (run_dir / "run.json").write_text(json.dumps(record))
    return dataclasses.replace(profile, seeds=(0,)), Path(trial.workspace.data_dir)
