"""The table that `regproxy evaluate` prints, and released checkpoints as its source."""

import json
from pathlib import Path

import pytest
import torch
from released_weights import ADE20K, draw, save, shapes_of
from smoke_profile import SMOKE_VARIANTS

from regproxy.cli.main import main
from regproxy.model.build import build
from regproxy.runs.saved_model import save_model


def test_the_table_says_how_many_classes_are_present(
    smoke_data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    variant, run = SMOKE_VARIANTS["cityscapes", "linear"], tmp_path / "run"
    torch.manual_seed(0)
    model = build(variant)
    with torch.no_grad():
        model.classifier.bias[-1] -= 1e6  # no pixel is predicted as the last class
    run.mkdir()
    save_model(model, run)
    (run / "run.json").write_text(json.dumps({"variant": variant.to_dict()}))
    assert (
        main(
            [
                "evaluate",
                str(run),
                "--data",
                str(smoke_data["cityscapes"]),
                "--scales",
                "1",
                "--device",
                "cpu",
            ]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["class", "IoU", "boundary", "IoU", "accuracy"]
    rows = {line.split()[0]: line.split()[1:] for line in lines[1:9]}
    assert rows.keys() == set(variant.data.classes)
    values = [float(row[0]) for row in rows.values() if row[0] != "-"]
    (miou,) = (line for line in lines if line.startswith("mIoU "))
    assert float(miou.split()[1]) == pytest.approx(sum(values) / len(values), abs=0.01)
    absent = [name for name, row in rows.items() if row[0] == "-"]
    assert (f"({len(values)} of 8 classes present)" in miou) == bool(absent)
    assert any(line.startswith("multi-scale mIoU ") for line in lines)


def test_a_released_checkpoint_is_evaluated(
    smoke_data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = next(name for name in ADE20K if "-t16-" in name)
    checkpoint = save(tmp_path / "tiny.pth", draw(shapes_of(name)))
    out = tmp_path / "out"
    arguments = ["--data", str(smoke_data["ade20k"]), "--device", "cpu", "--out", str(out)]
    assert main(["evaluate", str(checkpoint), *arguments]) == 0
    record = json.loads((out / "result.json").read_text())
    assert record["classes"] == list(SMOKE_VARIANTS["ade20k", "linear"].data.classes)
    assert record["num_images"] == 4 and record["confusion_per_image"] is None
    assert record["source"].endswith("tiny.pth") and 0 <= record["miou"] < 1
    assert main(["evaluate", str(checkpoint), "--data", str(smoke_data["cityscapes"])]) == 1
    error = capsys.readouterr().err
    assert "not among the model's 150 (vegetation)" in error and len(error.splitlines()) == 1
