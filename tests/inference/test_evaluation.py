"""`regproxy evaluate`: the digits of the pipeline's stage, for any source and any data."""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from saved_runs import make_run
from smoke_profile import SMOKE_VARIANTS

import regproxy
from regproxy.cli.main import main
from regproxy.config.variant import Variant
from regproxy.data.shards import Shards
from regproxy.errors import ConfigError, DataError
from regproxy.eval.score import read_pair
from regproxy.inference.evaluation import Files, evaluate
from regproxy.model.build import build
from regproxy.runs.result import score_run
from regproxy.runs.saved_model import save_model
from regproxy.runs.trial import Trial

SMOKE = SMOKE_VARIANTS["cityscapes", "region-4x4"]


def with_classes(variant: Variant, classes: tuple[str, ...], **changes: object) -> Variant:
    return dataclasses.replace(variant, data=dataclasses.replace(variant.data, classes=classes, **changes))


@pytest.fixture
def pairs(smoke_data: dict[str, Path], tmp_path: Path) -> Path:
    """A raw folder with the images and labels of the smoke profile's Cityscapes scenes."""
    shards = Shards(smoke_data["cityscapes"], "val")
    for index in range(len(shards)):
        name = Path(shards.read(index).id).name
        for kind, pixels in zip(("images", "annotations"), read_pair(shards, index), strict=True):
            path = tmp_path / "raw" / kind / "val" / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return tmp_path / "raw"


def test_the_digits_are_those_of_the_stage(
    make_trial: Callable[..., Trial], smoke_data, tmp_path: Path
) -> None:
    trial = make_trial("region-4x4")
    run = Path(trial.workspace.run_dir)
    run.mkdir()
    save_model(build(trial.variant), run)
    (run / "run.json").write_text(json.dumps({"variant": trial.variant.to_dict()}))
    expected = score_run(trial, regproxy.load(run, "cpu").device)
    record = evaluate(run, str(smoke_data["ade20k"]), scales=(), device="cpu", files=Files(tmp_path / "out"))
    own = {"fingerprint", "fingerprint_parts", "run_fingerprint", "profile", "seed", "seconds", "scored"}
    assert {key: record.get(key) for key in expected.keys() - own} == {
        key: expected[key] for key in expected.keys() - own
    }
    assert json.loads((tmp_path / "out/result.json").read_text()) == record
    single = evaluate(run, str(smoke_data["ade20k"]), device="cpu")
    assert single["multi_scale"] is None and single["miou"] == expected["miou"]
    with (tmp_path / "out/images.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    shards = Shards(smoke_data["ade20k"], "val")
    assert [row["id"] for row in rows] == [shards.read(index).id for index in range(len(shards))]
    assert all(0 <= float(row["miou"]) <= float(row["pixel_accuracy"]) <= 1 for row in rows)


def test_raw_folders_give_the_digits_of_prepared_data(
    pairs: Path, smoke_data: dict[str, Path], tmp_path: Path
) -> None:
    variant = with_classes(SMOKE, SMOKE.data.classes, format="folder")
    run = make_run(tmp_path / "run", variant)
    keys = ("miou", "iou_per_class", "boundary_iou", "pixel_accuracy", "region_entropy", "accuracy_per_class")
    prepared = evaluate(run, str(smoke_data["cityscapes"]), device="cpu")
    raw = evaluate(run, str(pairs), device="cpu")
    assert {key: raw[key] for key in keys} == {key: prepared[key] for key in keys}
    for kind in ("images", "annotations"):  # without a folder for each split
        (pairs / kind / "val").rename(tmp_path / kind)
        (pairs / kind).rmdir()
        (tmp_path / kind).rename(pairs / kind)
    assert evaluate(run, str(pairs), split="test", device="cpu")["miou"] == raw["miou"]


def test_a_profile_finds_prepared_and_raw_data(
    pairs: Path, smoke_data: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variant = with_classes(SMOKE, SMOKE.data.classes, format="folder")
    run = make_run(tmp_path / "run", variant)
    content = yaml.safe_load(Path("pipelines/profiles/smoke.yaml").read_text())
    content["search"] = None  # it names the other data set
    mine = {"format": "folder", "root": str(pairs), "classes": list(SMOKE.data.classes)}
    content["datasets"] = {
        "cityscapes": mine | {"recipe": {"scale": [128, 64]}, "evaluation": {"scale": [128, 64]}}
    }
    monkeypatch.chdir(tmp_path)
    Path("pipelines/profiles").mkdir(parents=True)
    Path("pipelines/profiles/mine.yaml").write_text(yaml.safe_dump(content))
    raw = evaluate(run, "mine/cityscapes", device="cpu")
    Path("data/prepared/mine").mkdir(parents=True)
    Path("data/prepared/mine/cityscapes").symlink_to(smoke_data["cityscapes"])
    for path in pairs.rglob("*.png"):
        path.unlink()
    assert evaluate(run, "mine/cityscapes", device="cpu")["miou"] == raw["miou"]
    with pytest.raises(ConfigError, match="did you mean 'cityscapes'"):
        evaluate(run, "mine/cityscape", device="cpu")
    with pytest.raises(DataError, match="other/cityscapes is no data"):
        evaluate(run, "other/cityscapes", device="cpu")


def test_classes_are_matched_by_name_or_refused(smoke_data: dict[str, Path], tmp_path: Path) -> None:
    """A network whose classes are those of the data in another order, and more, has the same scores."""
    classes, data = SMOKE.data.classes, str(smoke_data["cityscapes"])
    run = make_run(tmp_path / "run")
    expected = evaluate(run, data, device="cpu")
    order = np.random.default_rng(0).permutation(len(classes))
    network = regproxy.load(run, "cpu").network
    for tensor in (network.classifier.weight, network.classifier.bias):
        tensor.requires_grad_(False).copy_(tensor[order.tolist()].clone())
    other = tmp_path / "other"
    other.mkdir()
    save_model(network, other)
    variant = with_classes(regproxy.load(run, "cpu").variant, tuple(classes[index] for index in order))
    (other / "run.json").write_text(json.dumps({"variant": variant.to_dict()}))
    record = evaluate(other, data, device="cpu")
    assert record["classes"] == list(classes)
    for key in ("iou_per_class", "accuracy_per_class", "boundary_iou_per_class"):
        assert record[key] == expected[key]
    assert record["miou"] == pytest.approx(expected["miou"])
    wrong = make_run(tmp_path / "wrong", with_classes(SMOKE, ("lamp", *classes[1:]), format="folder"))
    with pytest.raises(DataError, match=r"1 of 8 are not among the model's 8 \(road\)"):
        evaluate(wrong, data, device="cpu")


def test_predictions_are_written_beside_the_record(
    run: Path, smoke_data: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = smoke_data["cityscapes"], tmp_path / "out"
    arguments = ["evaluate", str(run), "--data", str(data), "--device", "cpu"]
    assert main([*arguments, "--overlay"]) == 1
    assert "add --out FOLDER" in capsys.readouterr().err
    arguments += ["--out", str(out)]
    for _ in range(2):
        assert main([*arguments, "--overlay", "--save-ids", "cityscapes"]) == 0
    shards = Shards(data, "val")
    record = shards.read(0)
    image, _ = read_pair(shards, 0)
    with Image.open(out / f"predictions/{record.id}.png") as labels:
        ids = np.asarray(labels)
    prediction = regproxy.load(run, "cpu").predict(image).labels
    assert set(np.unique(ids)) <= {7, 8, 11, 17, 21, 23, 24, 26} and ids.shape == prediction.shape
    assert len(np.unique(ids)) == len(np.unique(prediction))
    assert len(list(out.rglob("*-overlay.jpg"))) == len(shards)
    (out / "result.json").write_text("{}")
    assert main(arguments) == 1
    assert "result.json exists and is no output of regproxy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda raw: next(raw.glob("annotations/val/*")).unlink(), r"1 problems?\. .* has no label"),
        (lambda raw: next(raw.glob("images/val/*")).write_bytes(b""), "the image cannot be decoded"),
        (
            lambda raw: [Image.new("L", (128, 64), 255).save(path) for path in raw.glob("annotations/val/*")],
            "has no labelled pixel in split val",
        ),
    ],
)
def test_raw_data_with_mistakes_are_refused(
    pairs: Path, tmp_path: Path, change: Callable[[Path], object], message: str
) -> None:
    run = make_run(tmp_path / "run", with_classes(SMOKE, SMOKE.data.classes, format="folder"))
    change(pairs)
    with pytest.raises(DataError, match=message):
        evaluate(run, str(pairs), device="cpu")
