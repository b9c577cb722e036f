"""Convert checkpoints of the paper's authors to run folders that `regproxy.load` reads.

The authors' code names the tensors differently (`backbone.`, `decode_head.`). Values and channel order are
the same, so tensors are only renamed. h w are the sub-cells of one token.
"""

import math
import os
import pickle
import re
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regproxy.config.formats import FORMATS
from regproxy.config.variant import Variant
from regproxy.errors import DataError
from regproxy.model.affinity import NEIGHBOURS
from regproxy.model.state_diff import describe_differences
from regproxy.released.architectures import ARCHITECTURES, Architecture, find_architecture, official_variant
from regproxy.released.official_names import official_names
from regproxy.runs.saved_model import build_empty, run_variant, save_model
from regproxy.storage.atomic import atomic_folder
from regproxy.storage.hashing import file_sha256
from regproxy.storage.json_file import write_json

_POSITION, _BLOCK = "backbone.pos_embed", "backbone.layers.0.attn.attn.in_proj_weight"
_CLASSIFIER, _AFFINITY = "decode_head.mlp.0.0.weight", "decode_head.affinity_head.1.conv.weight"
_REQUIRED = {_POSITION: 3, _BLOCK: 2, _CLASSIFIER: 2, _AFFINITY: 4}  # tensors that show sizes; their ndim


def import_official(
    checkpoint: str | os.PathLike,
    out: str | os.PathLike,
    *,
    dataset: str | None = None,
    architectures: Sequence[Architecture] = ARCHITECTURES,
) -> Variant:
    """Convert a released checkpoint to the run folder `out` and return its variant.

    The folder has run.json and model.safetensors. It is complete or absent.

    Args:
        checkpoint: a file that torch saved. Of a training checkpoint only `state_dict` is used.
        out: must be empty or missing.
        dataset: ade20k or cityscapes, to check the one that the number of classes shows; None for no check.
        architectures: those that are recognised.

    Raises:
        DataError: `out` has files, or the checkpoint cannot be read or is not exactly a released model.
    """
    out = Path(out).resolve()
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{out} exists. Give a folder that is new or empty.")
    model, record = read_official(checkpoint, dataset=dataset, architectures=architectures)
    with atomic_folder(out, marker="run.json") as temporary:
        save_model(model, temporary)
        write_json(temporary / "run.json", record)
    return run_variant(record)


def read_official(
    checkpoint: str | os.PathLike,
    *,
    dataset: str | None = None,
    architectures: Sequence[Architecture] = ARCHITECTURES,
) -> tuple[nn.Module, dict[str, Any]]:
    """Return a released network, on the CPU and in eval mode, and its run record.

    Arguments and errors are those of `import_official`.
    """
    checkpoint = Path(checkpoint)
    weights = _read(checkpoint)
    try:
        variant, weights = convert(weights, dataset=dataset, architectures=architectures)
    except DataError as error:
        raise DataError(f"{checkpoint} {error}") from None
    model = build_empty(variant).eval()
    model.load_state_dict(weights, assign=True)
    source = {"source": checkpoint.name, "source_sha256": file_sha256(checkpoint)}
    return model, {"format": 1, **source, "variant": variant.to_dict()}


def convert(
    weights: Mapping[str, Tensor],
    *,
    dataset: str | None = None,
    architectures: Sequence[Architecture] = ARCHITECTURES,
) -> tuple[Variant, dict[str, Tensor]]:
    """Return the variant of a released state dict, and its tensors by our names.

    Raises:
        DataError: tensors are missing, superfluous or of another shape, or the model is not recognised. The
            message continues a sentence that begins with the name of the file.
    """
    if weights and all(name.startswith("module.") for name in weights):  # saved from a parallel wrapper
        weights = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    shapes = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    variant = recognise(shapes, dataset, architectures)
    ours = build_empty(variant).state_dict()
    names = official_names(ours)
    expected = {names[name]: tensor for name, tensor in ours.items()}
    differences = describe_differences(expected, weights, check_dtypes=False)
    if differences:
        raise DataError(
            f"does not fit the released {variant.model.arch} on {variant.data.name} ({differences}). "
            f"Give the file as the authors released it."
        )
    return variant, {name: weights[names[name]].to(ours[name].dtype) for name in ours}


def recognise(
    shapes: Mapping[str, tuple[int, ...]], dataset: str | None, architectures: Sequence[Architecture]
) -> Variant:
    """Return the variant of a released model, derived from the names and shapes of its tensors.

    The number of classes shows the data set, the position embedding shows the crop, and the affinity head the
    region. Crop and region are square.

    Raises:
        DataError: a tensor that shows a size is missing, a size is not that of a released model, or `dataset`
            is another one. The message continues a sentence that begins with the name of the file.
    """
    missing = [name for name, ndim in _REQUIRED.items() if len(shapes.get(name, ())) != ndim]
    if missing:
        example = f" such as {min(shapes)}" if shapes else ""
        raise DataError(
            f"is not a model that the paper's authors released: among its {len(shapes)} tensors{example} "
            f"there is no {', '.join(missing)} of the expected kind"
        )
    architecture = find_architecture(shapes, architectures)
    num_classes = shapes[_CLASSIFIER][0]
    known = {len(FORMATS[name].classes): name for name in ("ade20k", "cityscapes")}
    if num_classes not in known:
        listed = " and ".join(f"{number} ({name})" for number, name in known.items())
        raise DataError(f"has {num_classes} classes; known are {listed}")
    if dataset not in (None, known[num_classes]):
        raise DataError(
            f"has {num_classes} classes, which is {known[num_classes]}, not {dataset}. Omit the data set."
        )
    prefix_tokens = 2 if architecture.layout[3] else 1  # class and distillation token
    patches = shapes[_POSITION][1] - prefix_tokens
    grid, channels = math.isqrt(max(patches, 0)), shapes[_AFFINITY][0]
    if grid**2 != patches or not grid:
        raise DataError(f"has a position embedding of {patches} patches, which is not a square grid")
    region = math.isqrt(channels // NEIGHBOURS)
    if NEIGHBOURS * region**2 != channels or not region:
        raise DataError(
            f"has an affinity head of {channels} channels; expected 9 h w with h = w, such as 144 for 4x4"
        )
    patch = int(architecture.arch.rsplit("/", 1)[1])  # pixels, the last number of the name
    return official_variant(architecture, known[num_classes], crop=grid * patch, region=region)


def _read(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a torch checkpoint. Only tensors and plain values are unpickled."""
    try:
        damaged = zipfile.is_zipfile(path) and zipfile.ZipFile(path).testzip()  # torch checks no CRC
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path} is missing. Give the path of a released checkpoint.") from None
    except Exception as error:  # reading arbitrary bytes can raise any exception
        unsafe = re.search(r"unsupported (?:global: )?GLOBAL (\S+)", str(error), re.IGNORECASE)
        if isinstance(error, pickle.UnpicklingError) and unsafe:
            raise DataError(
                f"{path} is not opened: it contains objects of {unsafe[1]}, which can run code. If you trust "
                f"the file, save its state_dict alone."
            ) from None
        raise DataError(
            f"{path} is damaged or not a torch file ({type(error).__name__}). Download it again."
        ) from None
    if damaged:
        raise DataError(f"{path} is damaged: the CRC of {damaged} is wrong. Download it again.")
    weights = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in weights.items()
    ):
        raise DataError(f"{path} has no state_dict of tensors by name. Give a released checkpoint.")
    return weights
