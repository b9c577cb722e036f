"""Files that are not exactly a released model: one sentence explains the problem, and nothing is written."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from released_weights import KNOWN, save
from safetensors.torch import save_file
from torch import Tensor

from regproxy.errors import DataError
from regproxy.released import checkpoint_import as official
from regproxy.released.checkpoint_import import import_official
from regproxy.runs.saved_model import load_model


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
        (
            lambda path: torch.save({"state_dict": {}, "meta": os.system}, path),
            "is not opened: it contains objects of posix.system, which can run code",
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
