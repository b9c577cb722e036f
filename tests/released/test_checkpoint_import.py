"""The authors' checkpoints: each becomes the same network here, or one sentence explains the problem."""

import argparse
import dataclasses
import hashlib
import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from reference_network import reference_logits
from safetensors.torch import load_file, save_file
from torch import Tensor

from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant
from regproxy.errors import DataError
from regproxy.model.build import build
from regproxy.released import checkpoint_import as official
from regproxy.released.architectures import ARCHITECTURES, Architecture
from regproxy.released.checkpoint_import import convert, import_official
from regproxy.runs.saved_model import load_model

HERE = Path(__file__).parents[1]
LISTS = HERE.parent.parent / "shared" / "paper" / "authors_checkpoints.json"
RELEASED = json.loads((HERE / "data" / "official_keys.json").read_text())
ADE20K = [name for name in RELEASED if name.endswith("ade20k")]
NAMES = {  # as the authors' file names write them
    "t16": "Ti/16",
    "s16": "S/16",
    "r26": "R26+S/32",
    "b16": "B/16",
    "l16": "L/16",
    "r50": "R50+L/32",
}
NARROW = {192: 64, 384: 128, 768: 128, 1024: 192}  # whole heads of 64


def shapes_of(name: str, *, narrow: bool = False) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a released model; `narrow` changes only the width of the transformer."""
    listed, depth = RELEASED[name]["shapes"], RELEASED[name]["depth"]
    shapes = {
        key.replace("*", str(index)): tuple(shape)
        for key, shape in listed.items()
        for index in range(depth if "*" in key else 1)
    }
    width = shapes["backbone.pos_embed"][-1]
    smaller = {times * width: times * NARROW[width] for times in (1, 3, 4)} if narrow else {}
    return {
        key: shape if ".stem." in key or ".stages." in key else tuple(smaller.get(n, n) for n in shape)
        for key, shape in shapes.items()
    }


def narrow(architecture: Architecture) -> Architecture:
    width = NARROW[architecture.layout[0]]
    backbone = dataclasses.replace(architecture.backbone, width=width, heads=width // 64)
    return dataclasses.replace(architecture, backbone=backbone, layout=(width, *architecture.layout[1:]))


KNOWN = (*ARCHITECTURES, *map(narrow, ARCHITECTURES))


def draw(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return weights with which attention, affinity and logits are far from uniform and of the order of 1."""
    generator = torch.Generator().manual_seed(0)
    weights = {}
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator)
        if not shape:
            weights[name] = torch.tensor(160_000)
        elif name.endswith(("_token", "pos_embed")):
            weights[name] = values / 2
        elif len(shape) > 1:
            weights[name] = values / math.prod(shape[1:]) ** 0.5
        elif name.endswith(("weight", "running_var")):
            # Large residual branches of the stem would amplify rounding errors from block to block.
            weights[name] = (values.sigmoid() + 0.5) * (0.4 if ".norm3." in name else 1)
        else:
            weights[name] = values / 10
    return weights


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder that is deleted after the test, because whole checkpoints are large."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.fixture
def tiny() -> dict[str, Tensor]:
    """Return a narrow Ti/16 with a position embedding for 2 x 2 patches."""
    return small_grid(next(name for name in ADE20K if "-t16-" in name))


def small_grid(name: str) -> dict[str, Tensor]:
    shapes = shapes_of(name, narrow=True)
    prefix = 2 if "backbone.dist_token" in shapes else 1
    shapes["backbone.pos_embed"] = (1, prefix + 4, shapes["backbone.pos_embed"][-1])
    return draw(shapes)


def save(path: Path, weights: dict[str, Tensor]) -> Path:
    meta = {"iter": 160_000, "CLASSES": ("wall", "building"), "config": "model = dict()"}
    torch.save({"meta": meta, "state_dict": weights, "optimizer": {"state": {0: torch.ones(3)}}}, path)
    return path


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


def edit(**changes: tuple[int, ...] | None) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    """Return a function that adds, reshapes or (None) removes tensors by the ends of their names."""

    def apply(weights: dict[str, Tensor]) -> dict[str, Tensor]:
        result = dict(weights)
        for end, shape in changes.items():
            end = end.replace("__", ".")
            names = [name for name in weights if name.endswith(end)] or [f"backbone.{end}"]
            for name in names:
                result.pop(name, None)
                if shape is not None:
                    result[name] = torch.zeros(shape)
        return result

    return apply


def renamed(old: str, new: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name.replace(old, new): tensor for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (edit(layers__3__ln1__bias=None), r"Ti/16 on ade20k \(missing: backbone.layers.3.ln1.bias\)\. Give"),
        (edit(conv_seg__weight=(150, 64)), r"\(superfluous: backbone.conv_seg.weight\)"),
        (edit(ffn__layers__1__bias=(9,)), r"another shape: .*7.ffn.layers.1.bias \[9\] instead of \[64\]"),
        (
            edit(patch_embed__projection__bias=None, extra=(1,), backbone__ln1__bias=(3,)),
            r"missing: \S+projection.bias; superfluous: backbone.extra; of another shape: backbone.ln1.bias",
        ),
        (renamed("depthwise_conv.conv", "conv"), r"missing: \S+depthwise_conv.conv.weight; superfluous: \S+"),
        (edit(mlp__0__0__weight=(21, 64)), r"21 classes; known are 150 \(ade20k\) and 19 \(cityscapes\)"),
        (edit(pos_embed=(1, 7, 64)), "position embedding of 6 patches, which is not a square grid"),
        (edit(pos_embed=(1, 1, 64)), "position embedding of 0 patches"),
        (edit(affinity_head__1__conv__weight=(54, 64, 1, 1)), "54 channels; expected 9 h w with h = w"),
        (edit(affinity_head__1__conv__weight=(150, 64, 1, 1)), "150 channels"),
        (edit(pos_embed=(1, 5, 80)), "width 80, 12 blocks, no stem, no distillation token; known are Ti/16,"),
        (edit(dist_token=(1, 1, 64)), "not a released architecture: width 64, 12 blocks, no stem, a dist"),
        (edit(patch_embed__backbone__stages__0__blocks__0__conv1__weight=(1,)), r"blocks, stem \[1\], no"),
        (
            renamed("decode_head.affinity", "decode_head.seg"),
            r"no decode_head.affinity_head.1.conv.weight of",
        ),
        (
            renamed("backbone.layers", "blocks"),
            "is not a model .* no backbone.layers.0.attn.attn.in_proj_weight",
        ),
        (lambda weights: {}, r"is not a model that .* released: among its 0 tensors there is no "),
    ],
)
def test_other_tensors_are_refused(
    change: Callable, message: str, folder: Path, tiny: dict[str, Tensor]
) -> None:
    source = save(folder / "other.pth", change(tiny))
    with pytest.raises(DataError, match=message) as raised:
        import_official(source, folder / "run", architectures=KNOWN)
    assert str(raised.value).startswith(f"{source} ")
    assert [path.name for path in folder.iterdir()] == ["other.pth"]


def test_the_data_set_may_only_be_confirmed(folder: Path, tiny: dict[str, Tensor]) -> None:
    with pytest.raises(DataError, match=r"150 classes, which is ade20k, not cityscapes\. Omit the data set"):
        import_official(
            save(folder / "a.pth", tiny), folder / "run", dataset="cityscapes", architectures=KNOWN
        )


def test_full_widths_alone_are_known_to_a_user(folder: Path, tiny: dict[str, Tensor]) -> None:
    with pytest.raises(
        DataError, match=r"width 64, .* known are Ti/16, S/16, R26\+S/32, B/16, L/16, R50\+L/32$"
    ):
        import_official(save(folder / "a.pth", tiny), folder / "run")


def halved(path: Path) -> None:
    torch.save({"state_dict": {"backbone.pos_embed": torch.ones(9999)}}, path)
    path.write_bytes(path.read_bytes()[:20_000])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "is missing. Give the path"),
        (lambda path: path.mkdir(), "is damaged or not a torch file"),
        (lambda path: path.write_text("hello\n"), "is damaged or not a torch file"),
        (lambda path: path.write_bytes(b""), "is damaged or not a torch file"),
        (lambda path: save_file({"a": torch.ones(2)}, path), "is damaged or not a torch file"),
        (halved, "is damaged or not a torch file .* Download it again"),
        (
            lambda path: torch.save({"state_dict": {}, "meta": argparse.Namespace(lr=1)}, path),
            "is not opened: it contains objects of argparse.Namespace, .* save its state_dict",
        ),
        (lambda path: torch.save([torch.ones(2)], path), "has no state_dict of tensors by name"),
        (lambda path: torch.save({"state_dict": {"a": 1}}, path), "has no state_dict of tensors by name"),
    ],
)
def test_other_files_are_refused(write: Callable[[Path], object], message: str, folder: Path) -> None:
    write(folder / "a.pth")
    with pytest.raises(DataError, match=message):
        import_official(folder / "a.pth", folder / "run")
    assert not (folder / "run").exists()


def test_a_flipped_byte_is_detected(folder: Path, tiny: dict[str, Tensor]) -> None:
    source = save(folder / "a.pth", tiny)
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 0xFF
    source.write_bytes(content)
    with pytest.raises(DataError, match=r"a.pth is damaged: the CRC of \S+ is wrong. Download it again"):
        import_official(source, folder / "run", architectures=KNOWN)


def test_nothing_is_overwritten_or_half_written(
    folder: Path, tiny: dict[str, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = save(folder / "a.pth", tiny), folder / "run"
    for taken in (folder, source):
        with pytest.raises(DataError, match=r"exists\. Give a folder that is new or empty"):
            import_official(source, taken, architectures=KNOWN)
    out.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(official, "write_json", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            import_official(source, out, architectures=KNOWN)
    assert {path.name for path in folder.iterdir()} == {"a.pth", "run"} and not any(out.iterdir())
    import_official(source, out, architectures=KNOWN)  # an empty folder is accepted
    assert load_model(out)
