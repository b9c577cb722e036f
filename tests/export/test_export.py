"""Exported files against the network: ONNX Runtime, torch.export, any batch and size, metadata, failures."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from saved_runs import VARIANT, make_run

import regproxy
from regproxy.cli.main import main
from regproxy.config.network import Backbone, ModelConfig
from regproxy.config.variant import Variant
from regproxy.errors import ConfigError, DataError
from regproxy.export import export_file as export_module
from regproxy.export import onnx_file
from regproxy.export.export_file import export

TINY = Backbone(timm_name="vit_tiny_patch16_384", width=32, depth=1, heads=2)
LINEAR = ModelConfig(arch="Tiny/16", backbone=TINY, head="linear")
FIXED = dataclasses.replace(
    LINEAR, backbone=Backbone(timm_name="beit_base_patch16_224", width=64, depth=1, heads=1)
)
PAINTED = ModelConfig(arch="Tiny/16", backbone=TINY, head="regproxy", region=(2, 3), conv="depthwise", tap=-1)
# One image, another batch, less than a patch, one row of tokens, no whole patches, many tokens.
SHAPES = [(1, 64, 64), (2, 64, 96), (5, 33, 17), (1, 5, 100), (1, 9, 9), (2, 31, 160)]


def variant_of(model: ModelConfig) -> Variant:
    return dataclasses.replace(VARIANT, model=model)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run and its export, painted.onnx, written by the command."""
    folder = tmp_path_factory.mktemp("export")
    run = make_run(folder / "run", variant_of(PAINTED))
    arguments = ["--out", str(folder / "painted.onnx"), "--with-upsampling"]
    assert main(["export", str(run), *arguments]) == 0
    return folder


def pixels_of(shape: tuple[int, int, int]) -> np.ndarray:
    batch, height, width = shape
    return np.random.default_rng(0).integers(0, 256, (batch, 3, height, width), dtype=np.uint8)


def normalised(pixels: np.ndarray) -> torch.Tensor:
    mean, std = (
        torch.tensor(given)[:, None, None] for given in (VARIANT.recipe.image_mean, VARIANT.recipe.image_std)
    )
    return (torch.from_numpy(pixels).float() - mean) / std


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_onnx_runtime_gives_logits_and_labels_of_the_network(painted: Path, shape: tuple[int, ...]) -> None:
    pixels = pixels_of(shape)
    session = onnxruntime.InferenceSession(painted / "painted.onnx")
    logits, labels = session.run(["logits", "labels"], {"pixels": pixels})
    with torch.inference_mode():
        expected = regproxy.load(painted / "run", "cpu")(normalised(pixels))
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    covered = [-(-side // 16) * 16 for side in shape[1:]]
    full = torch.nn.functional.interpolate(expected, covered, mode="bilinear")[..., : shape[1], : shape[2]]
    assert labels.dtype == np.uint8 and labels.shape == shape
    assert (labels == full.argmax(dim=1).numpy()).mean() >= 0.9999


def test_the_file_describes_itself(painted: Path) -> None:
    session = onnxruntime.InferenceSession(painted / "painted.onnx")
    shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
    num_classes = VARIANT.data.num_classes
    assert shapes == {
        "pixels": ["batch", 3, "height", "width"],
        "logits": ["batch", num_classes, "rows", "columns"],
        "labels": ["batch", "height", "width"],
    }
    stored = session.get_modelmeta().custom_metadata_map
    metadata = {name: json.loads(text) for name, text in stored.items()}
    assert metadata["classes"] == list(VARIANT.data.classes) and len(metadata["palette"]) == num_classes
    assert metadata["mean"] == list(VARIANT.recipe.image_mean)
    assert metadata["std"] == list(VARIANT.recipe.image_std)
    assert (metadata["patch"], metadata["stride"]) == (16, [8, 16 / 3])
    assert metadata["window"] == list(VARIANT.evaluation.window)
    assert metadata["input"] == "uint8 RGB 0..255" and metadata["fixed_size"] is False
    assert metadata["regproxy_version"] == regproxy.__version__
    model = onnx.load(painted / "painted.onnx")
    onnx.checker.check_model(model)
    assert [one.version for one in model.opset_import if not one.domain] == [metadata["opset"]]


def test_the_file_refuses_floats(painted: Path) -> None:
    session = onnxruntime.InferenceSession(painted / "painted.onnx")
    with pytest.raises(Exception, match=r"expected: \(tensor\(uint8\)\)"):
        session.run(None, {"pixels": np.zeros((1, 3, 64, 64), np.float32)})


def test_large_weights_lie_beside_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(tmp_path / "run", variant_of(FIXED))
    monkeypatch.setattr(onnx_file, "_MAX_BYTES", 0)
    out = tmp_path / "new" / "fixed.onnx"
    export(regproxy.load(run, "cpu"), out, normalised_input=True)
    assert {path.name for path in out.parent.iterdir()} == {"fixed.onnx", "fixed.onnx.data"}
    images = normalised(pixels_of((2, 64, 64)))
    (logits,) = onnxruntime.InferenceSession(out).run(None, {"images": images.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(logits, regproxy.load(run, "cpu")(images).numpy(), atol=1e-5)


def test_torch_export_gives_equal_logits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = make_run(tmp_path / "run", variant_of(LINEAR)), tmp_path / "linear.pt2"
    assert main(["export", str(run), "--format", "torch-export", "--out", str(out)]) == 0
    first, *compared = capsys.readouterr().out.splitlines()
    assert first == f"{out} takes any batch of images of any size"
    assert len(compared) == 2 and all("100.0000% of the pixels" in line for line in compared)
    files = {"metadata.json": ""}
    network = torch.export.load(out, extra_files=files).module()
    assert json.loads(json.loads(files["metadata.json"])["classes"]) == list(VARIANT.data.classes)
    model = regproxy.load(run, "cpu")
    for shape in SHAPES:
        pixels = pixels_of(shape)
        with torch.inference_mode():
            (logits,), expected = network(torch.from_numpy(pixels)), model(normalised(pixels))
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)


def test_a_relative_position_bias_keeps_its_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = (
        make_run(tmp_path / "run", variant_of(FIXED)),
        tmp_path / "b.pt2",
    )
    assert main(["export", str(run), "--format", "torch-export", "--out", str(out)]) == 0
    assert (
        "takes any batch of images of 64 x 64 pixels: the backbone has a fixed size"
        in capsys.readouterr().out
    )
    network = torch.export.load(out).module()
    assert network(torch.from_numpy(pixels_of((3, 64, 64))))[0].shape == (3, VARIANT.data.num_classes, 4, 4)
    with pytest.raises(AssertionError, match="Guard failed"):
        network(torch.from_numpy(pixels_of((3, 64, 96))))


def test_a_file_that_disagrees_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = regproxy.load(make_run(tmp_path / "run", variant_of(FIXED)), "cpu")
    monkeypatch.setattr(export_module, "MIN_AGREEMENT", 1.01)
    with pytest.raises(
        DataError, match=r"x\.pt2 was not written: 100\.0000% of the pixels .* expected 101\.00%"
    ):
        export(model, tmp_path / "x.pt2", format="torch-export")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_sam_is_refused_for_onnx(tmp_path: Path) -> None:
    sam = Backbone(timm_name="samvit_base_patch16_224", width=64, depth=1, heads=1)
    run = make_run(tmp_path / "run", variant_of(dataclasses.replace(LINEAR, backbone=sam)))
    with pytest.raises(
        ConfigError, match=r"SAM backbone cannot be exported to ONNX\. Use the format torch-ex"
    ):
        export(regproxy.load(run, "cpu"), tmp_path / "x.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"run"}


def test_another_suffix_and_a_missing_package_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = regproxy.load(make_run(tmp_path / "run", variant_of(LINEAR)), "cpu")
    with pytest.raises(
        ConfigError, match=r"model\.safetensors is invalid: expected a name that ends in \.onnx"
    ):
        export(model, tmp_path / "run" / "model.safetensors")
    monkeypatch.setattr(onnx_file, "_PACKAGES", ("onnx", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package\. Run pip install 'regproxy\[export\]'"):
        export(model, tmp_path / "x.onnx")
