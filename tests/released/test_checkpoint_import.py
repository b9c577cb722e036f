"""The authors' checkpoints: each becomes the same network here."""

import dataclasses
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from reference_network import reference_logits
from released_weights import ADE20K, KNOWN, RELEASED, draw, save, shapes_of, small_grid
from safetensors.torch import load_file
from torch import Tensor

import regproxy
from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant
from regproxy.model.build import build
from regproxy.released.checkpoint_import import convert, import_official
from regproxy.runs.saved_model import load_model

LISTS = Path(__file__).parents[3] / "shared" / "paper" / "authors_checkpoints.json"
NAMES = {  # as the authors' file names write them
    "t16": "Ti/16",
    "s16": "S/16",
    "r26": "R26+S/32",
    "b16": "B/16",
    "l16": "L/16",
    "r50": "R50+L/32",
}


def difference(
    folder: Path, weights: dict[str, Tensor], *sizes: tuple[int, int], dtype: torch.dtype = torch.float32
) -> float:
    """Import the weights; return the largest difference of the logits from the float64 reference."""
    variant = import_official(save(folder / "official.pth", weights), folder / "run", architectures=KNOWN)
    model = load_model(folder / "run").to(dtype)
    exact = {key: tensor.double() for key, tensor in weights.items()}
    largest = 0.0
    for height, width in sizes:
        images = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1))
        with torch.inference_mode():
            logits = model(images.to(dtype))
            expected = reference_logits(exact, images.double(), tap=variant.model.tap)
            other = reference_logits(exact, images.double(), tap=variant.model.tap + 1)
        assert logits.shape == expected.shape
        assert expected.std() > 0.5 and (expected - other).abs().max() > 0.05  # the comparison is not trivial
        largest = max(largest, (logits - expected).abs().max().item())
    return largest


@pytest.mark.parametrize("name", RELEASED)
def test_narrow_models_equal_the_reference(name: str, folder: Path) -> None:
    assert difference(folder, draw(shapes_of(name, narrow=True)), (96, 64), (70, 45)) < 1e-4


@pytest.mark.parametrize("name", [n for n in ADE20K if n.split("-")[1] in ("t16", "s16", "r26")])
def test_whole_models_equal_the_reference(name: str, folder: Path) -> None:
    assert difference(folder, draw(shapes_of(name)), (96, 64), (70, 45)) < 1e-4


@pytest.mark.parametrize("name", ADE20K)
def test_nothing_but_rounding_differs(name: str, folder: Path) -> None:
    side = (
        64 if "32-" in name else 32
    )  # of 2 x 2 patches, so that no position is resized, in single precision
    assert difference(folder, small_grid(name), (side, side), dtype=torch.float64) < 1e-10


@pytest.mark.parametrize("region", [1, 2, 8])
def test_other_regions_and_larger_grids(region: int, folder: Path, tiny: dict[str, Tensor]) -> None:
    shape = {"weight": (9 * region**2, 64, 1, 1), "bias": (9 * region**2,)}
    tiny |= draw({f"decode_head.affinity_head.1.conv.{key}": value for key, value in shape.items()})
    assert difference(folder, tiny, (96, 64), (70, 45)) < 1e-4


def profile_variant(variant: Variant) -> Variant:
    """Return the variant of paper-main with this model and data set, without what weights do not show."""
    variants = load_profile("paper-main").variants
    (found,) = (c for c in variants if (c.model.arch, c.data) == (variant.model.arch, variant.data))
    recipe = dataclasses.replace(found.recipe, loader_workers=0, validate_every=None)
    if recipe.schedule == "poly":
        recipe = dataclasses.replace(recipe, cosine_periods=(), cosine_weights=())
    model = dataclasses.replace(found.model, pretrain="none", weights=None)
    return dataclasses.replace(found, name=variant.name, model=model, recipe=recipe)


@pytest.mark.parametrize("name", RELEASED)
def test_released_models_are_recognised_and_complete(name: str) -> None:
    weights = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(name).items()}
    variant, converted = convert(weights)
    assert variant == profile_variant(variant) and Variant.from_dict(variant.to_dict()) == variant
    arch, tap, crop = name.split("-")[1], variant.model.tap, variant.recipe.crop
    assert variant.model.arch == NAMES[arch] and name.endswith(f"+{variant.data.name}")
    assert f"-mid-{'n1' if tap == -1 else tap}+{crop[0]}x{crop[1]}+" in name
    with torch.device("meta"):
        wanted = build(variant).state_dict()
    assert {k: t.shape for k, t in converted.items()} == {k: t.shape for k, t in wanted.items()}
    assert len(converted) == len(weights)


@pytest.mark.skipif(not LISTS.exists(), reason="the lists of the released files are not available")
def test_key_lists_are_those_of_the_released_files() -> None:
    lists = {name: entry["state_dict"] for name, entry in json.loads(LISTS.read_text()).items()}
    ours = {name: {key: list(shape) for key, shape in shapes_of(name).items()} for name in RELEASED}
    assert len(lists) == 10 and ours == lists


def test_the_record_has_the_source_of_the_weights(folder: Path, tiny: dict[str, Tensor]) -> None:
    source, out = save(folder / "regproxy.pth", tiny), folder / "deep" / "run"
    variant = import_official(source, out, dataset="ade20k", architectures=KNOWN)
    record = json.loads((out / "run.json").read_text())
    assert record["source"] == "regproxy.pth" and Variant.from_dict(record["variant"]) == variant
    assert record["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert {path.name for path in out.iterdir()} == {"run.json", "model.safetensors"}
    assert [path.name for path in out.parent.iterdir()] == ["run"]


def test_forms_of_one_file_are_one_model(folder: Path, tiny: dict[str, Tensor]) -> None:
    forms = {
        "plain": {"state_dict": tiny},
        "bare": tiny,
        "parallel": {"state_dict": {f"module.{name}": tensor for name, tensor in tiny.items()}},
    }
    results = []
    for form, content in forms.items():
        torch.save(content, folder / form, _use_new_zipfile_serialization=form != "bare")
        import_official(folder / form, folder / f"{form}-run", architectures=KNOWN)
        results.append(load_file(folder / f"{form}-run" / "model.safetensors"))
    for other in results[1:]:
        assert all(torch.equal(other[name], tensor) for name, tensor in results[0].items())


def test_load_converts_a_released_file_in_memory(folder: Path) -> None:
    weights = draw(shapes_of(next(name for name in ADE20K if "-t16-" in name)))
    checkpoint = save(folder / "official.pth", weights)
    import_official(checkpoint, folder / "run")
    files = sorted(path.name for path in folder.iterdir())
    loaded, imported = (regproxy.load(source, "cpu") for source in (checkpoint, folder / "run"))
    assert loaded.variant == imported.variant and loaded.record == imported.record
    image = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    assert np.array_equal(loaded.predict(image).confidence, imported.predict(image).confidence)
    assert sorted(path.name for path in folder.iterdir()) == files
