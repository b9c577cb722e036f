"""Checkpoints that the paper's authors released, turned into a run's folder that `load_model` reads.

Their names (`backbone.`, `decode_head.`) are another library's for the same network; the tensors, channel
order included, are carried over as they are. C width, K classes, H W token grid, h w sub-cells a token.
"""

import hashlib
import json
import math
import os
import pickle
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from regproxy.config.formats import FORMATS
from regproxy.config.variant import Variant
from regproxy.model.affinity import NEIGHBOURS
from regproxy.model.build import build
from regproxy.released.architectures import (
    ARCHITECTURES,
    Architecture,
    find_architecture,
    official_variant,
)
from regproxy.runs.saved_model import save_model

_POSITION, _BLOCK = "backbone.pos_embed", "backbone.layers.0.attn.attn.in_proj_weight"
_CLASSIFIER, _AFFINITY = "decode_head.mlp.0.0.weight", "decode_head.affinity_head.1.conv.weight"
_LANDMARKS = {_POSITION: 3, _BLOCK: 2, _CLASSIFIER: 2, _AFFINITY: 4}  # sizes are read off these; dimensions
_RENAMED = (  # ours, theirs; one after the other
    (r"^backbone\.vit\.", "backbone."),
    (r"^backbone\.blocks\.(\d+)\.norm([12])\.", r"backbone.layers.\1.ln\2."),
    (r"^backbone\.blocks\.(\d+)\.attn\.qkv\.", r"backbone.layers.\1.attn.attn.in_proj_"),  # rows q, k, v
    (r"^backbone\.blocks\.(\d+)\.attn\.proj\.", r"backbone.layers.\1.attn.attn.out_proj."),
    (r"^backbone\.blocks\.(\d+)\.mlp\.fc1\.", r"backbone.layers.\1.ffn.layers.0.0."),
    (r"^backbone\.blocks\.(\d+)\.mlp\.fc2\.", r"backbone.layers.\1.ffn.layers.1."),
    (r"^backbone\.norm\.", "backbone.ln1."),
    (r"^classifier\.", "decode_head.mlp.0.0."),
    (r"^affinity_head\.stem\.0\.", "decode_head.affinity_head.0.depthwise_conv.conv."),
    (r"^affinity_head\.stem\.1\.", "decode_head.affinity_head.0.depthwise_conv.bn."),
    (r"^affinity_head\.stem\.3\.", "decode_head.affinity_head.0.pointwise_conv.conv."),
    (r"^affinity_head\.stem\.4\.", "decode_head.affinity_head.0.pointwise_conv.bn."),
    (r"^affinity_head\.out\.", "decode_head.affinity_head.1.conv."),
)


def import_official(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    dataset: str | None = None,
    architectures: Sequence[Architecture] = ARCHITECTURES,
) -> Variant:
    """Turns a released checkpoint into the folder `out` (run.json, model.safetensors), whole or not at all.

    Args:
        checkpoint: a file that torch saved; of a training checkpoint only `state_dict` is used.
        out: must be empty or not exist.
        dataset: ade20k or cityscapes, to be sure; it is recognised by the number of classes.
        architectures: those that can be recognised.

    Raises:
        ValueError: `out` is taken, or the file is unreadable or not exactly one of the released models.
    """
    checkpoint, out = Path(checkpoint), Path(out).resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise ValueError(f"{out} exists already, give a folder that is new or empty")
    weights = _read(checkpoint)
    try:
        variant, weights = convert(weights, dataset=dataset, architectures=architectures)
    except ValueError as error:
        raise ValueError(f"{checkpoint} {error}") from None
    with checkpoint.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with torch.device("meta"):
        model = build(variant)
    model.load_state_dict(weights, assign=True)
    record = {"format": 1, "source": checkpoint.name, "source_sha256": digest, "variant": variant.to_dict()}
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    temporary.mkdir(parents=True)
    try:
        save_model(model, temporary)
        (temporary / "run.json").write_text(json.dumps(record, indent=1) + "\n")
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return variant


def convert(
    weights: Mapping[str, Tensor],
    *,
    dataset: str | None = None,
    architectures: Sequence[Architecture] = ARCHITECTURES,
) -> tuple[Variant, dict[str, Tensor]]:
    """Returns the variant of a released state dict and its tensors by our names, every one accounted for.

    Raises:
        ValueError: names are missing, left over or shaped unlike those of the model it is nearest to, or it
            is near to none.
    """
    if weights and all(name.startswith("module.") for name in weights):  # as saved from a parallel wrapper
        weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    variant = recognise(
        {name: tuple(tensor.shape) for name, tensor in weights.items()}, dataset, architectures
    )
    with torch.device("meta"):
        ours = build(variant).state_dict()
    hybrid = any(".patch_embed.backbone." in name for name in ours)
    wanted = {official_name(name, hybrid=hybrid): (name, tensor) for name, tensor in ours.items()}
    problems = {
        "missing": [name for name in wanted if name not in weights],
        "superfluous": [name for name in weights if name not in wanted],
        "of another shape": [
            f"{name} {list(weights[name].shape)} instead of {list(tensor.shape)}"
            for name, (_, tensor) in wanted.items()
            if name in weights and weights[name].shape != tensor.shape
        ],
    }
    found = [f"{problem}: {', '.join(names)}" for problem, names in problems.items() if names]
    if found:
        raise ValueError(
            f"does not fit the released {variant.model.arch} on {variant.data.name} ({'; '.join(found)}), "
            f"give the file as the authors released it"
        )
    return variant, {name: weights[theirs].to(tensor.dtype) for theirs, (name, tensor) in wanted.items()}


def official_name(name: str, *, hybrid: bool) -> str:
    """Returns the authors' name of a tensor of our network; a hybrid's patches are projected as in timm."""
    for ours, theirs in _RENAMED:
        name = re.sub(ours, theirs, name)
    return name if hybrid else name.replace("backbone.patch_embed.proj.", "backbone.patch_embed.projection.")


def recognise(
    shapes: Mapping[str, tuple[int, ...]], dataset: str | None, architectures: Sequence[Architecture]
) -> Variant:
    """Returns the variant of a released model, read off its names and shapes.

    The number of classes says the data set, which `dataset` can only confirm; the position embedding's grid
    says the crop, and both it and the region (h, w) are square.

    Raises:
        ValueError: what sizes are read off is not there, or they are no released model's.
    """
    lost = [name for name, dims in _LANDMARKS.items() if len(shapes.get(name, ())) != dims]
    if lost:
        raise ValueError(
            f"is no model that the paper's authors released: it has no {', '.join(lost)} of the expected "
            f"kind among its {len(shapes)} tensors{f' such as {min(shapes)}' if shapes else ''}"
        )
    architecture = find_architecture(shapes, architectures)
    num_classes = shapes[_CLASSIFIER][0]
    known = {len(FORMATS[name].classes): name for name in ("ade20k", "cityscapes")}
    if num_classes not in known:
        listed = " and ".join(f"{number} ({name})" for number, name in known.items())
        raise ValueError(f"has {num_classes} classes, known are {listed}")
    if dataset not in (None, known[num_classes]):
        raise ValueError(
            f"has {num_classes} classes, which is {known[num_classes]}, not {dataset}; leave the data set out"
        )
    patches = shapes[_POSITION][1] - (2 if architecture.layout[3] else 1)  # besides cls, dist
    grid, channels = math.isqrt(max(patches, 0)), shapes[_AFFINITY][0]
    if grid**2 != patches or not grid:
        raise ValueError(f"has a position embedding of {patches} patches, which are no square grid")
    region = math.isqrt(channels // NEIGHBOURS)
    if NEIGHBOURS * region**2 != channels or not region:
        raise ValueError(
            f"has an affinity head of {channels} channels, expected are 9 h w with h = w, such as 144 for 4x4"
        )
    return official_variant(architecture, known[num_classes], crop=grid * architecture.patch, region=region)


def _read(path: Path) -> dict[str, Tensor]:
    """Returns the state dict of a torch checkpoint, unpickling nothing but tensors and plain values."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing, give the path of a released checkpoint") from None
    except Exception as error:  # a stranger's bytes may raise anything
        unsafe = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and unsafe:
            raise ValueError(
                f"{path} holds objects of {unsafe[1]} beside its tensors and is not opened, save its "
                f"state_dict alone where you trust it"
            ) from None
        raise ValueError(
            f"{path} is damaged or no file that torch saved ({type(error).__name__}), download it again"
        ) from None
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items()
    ):
        raise ValueError(f"{path} holds no state_dict of tensors by name, give a released checkpoint")
    return weights
