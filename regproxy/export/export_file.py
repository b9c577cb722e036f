"""Export a trained network to a file that runs without this library, and compare the two.

B batch, K classes, X Y image.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

import regproxy
from regproxy.errors import ConfigError, DataError
from regproxy.export.exported_network import ExportedNetwork
from regproxy.export.onnx_file import OPSET, onnx_runner, require_onnx, write_onnx
from regproxy.inference.trained_model import TrainedModel
from regproxy.storage.atomic import atomic_files

Format = Literal["onnx", "torch-export"]
SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "torch-export": ".pt2"}
MIN_AGREEMENT = 0.9999  # share of equal pixels


@dataclass(frozen=True)
class Agreement:
    """How a file agrees with its network on images (B, 3, X, Y) of noise.

    `equal` is the share of pixels with the same class, `difference` the largest difference of two logits.
    """

    shape: tuple[int, ...]
    equal: float
    difference: float


def export(
    model: TrainedModel,
    out: Path,
    *,
    format: Format = "onnx",
    upsample: bool = False,
    normalised_input: bool = False,
) -> list[Agreement]:
    """Write a trained network to a file and return how the file agrees with it on images of two shapes.

    The file takes any batch and any size, except that a network with a relative position bias (BEiT) takes
    only the size of its window. Inputs, outputs and metadata are described in docs/api.md. The file is
    complete or absent. An earlier file is replaced.

    Args:
        model: on the CPU.
        out: ends in `.onnx` or `.pt2`.
        format: `onnx`, or `torch-export` for `torch.export.load`.
        upsample: also return the class of every pixel.
        normalised_input: take normalised float32 images instead of uint8 pixels.

    Raises:
        ConfigError: the name has another suffix, a package that ONNX needs is missing, or the backbone is
            SAM's, which torch cannot translate to ONNX.
        DataError: less than 99.99 % of the pixels have the class that the network gives them.
    """
    if out.suffix != SUFFIXES[format]:
        raise ConfigError(f"{out} is invalid: expected a name that ends in {SUFFIXES[format]}. Rename it.")
    if format == "onnx":
        require_onnx()
        if model.network.backbone.is_sam:  # torch cannot translate attention on (B, N, C)
            raise ConfigError("a SAM backbone cannot be exported to ONNX. Use the format torch-export.")
    network = ExportedNetwork(model, upsample=upsample, normalised_input=normalised_input).eval()
    program, metadata = _trace(network, model), _metadata(network, model)
    with atomic_files(out) as draft:
        if format == "onnx":
            write_onnx(program, draft, axes=network.axes, metadata=metadata)
            run = onnx_runner(draft)
        else:
            torch.export.save(program, draft, extra_files={"metadata.json": json.dumps(metadata)})
            run = torch.export.load(draft).module()
        agreements = [compare(network, run, shape) for shape in _tested_shapes(model)]
        worst = min(agreements, key=lambda one: one.equal)
        if worst.equal < MIN_AGREEMENT:
            raise DataError(
                f"{out} was not written: {worst.equal:.4%} of the pixels of {list(worst.shape)} have the "
                f"class that the network gives; expected {MIN_AGREEMENT:.2%}. Choose another format."
            )
    return agreements


@torch.no_grad()
def compare(
    network: ExportedNetwork, run: Callable[[Tensor], Sequence[Tensor]], shape: tuple[int, int, int]
) -> Agreement:
    """Return how the outputs of `run`, a file's, agree with those of the network on `shape` (B, X, Y)."""
    images = network.random_images(shape[0], shape[1:])
    expected, given = network(images), run(images)
    size = images.shape[2:]
    classes = network.labels(expected[0], size)
    found = given[1] if network.upsample else network.labels(given[0], size)
    equal = (classes == found).double().mean().item()
    return Agreement(tuple(images.shape), equal, (expected[0] - given[0]).abs().max().item())


def _trace(network: ExportedNetwork, model: TrainedModel) -> torch.export.ExportedProgram:
    """Return the network's graph. Batch and, if it can take several, the size of the images may vary."""
    window = model.variant.evaluation.window
    varies = torch.export.Dim.DYNAMIC
    sizes = {} if model.network.backbone.has_fixed_size else {2: varies, 3: varies}
    # Without this setting, the graph would be traced for two or more images of two or more patches.
    with torch.fx.experimental._config.patch(backed_size_oblivious=True), torch.no_grad():
        program = torch.export.export(
            network,
            (network.random_images(2, window),),
            dynamic_shapes={"images": {0: varies, **sizes}},
        )
    # The guards describe the memory layout of the traced images. They would refuse a batch of one image and a
    # grid with one row or column, which the operators compute rightly. Sizes that cannot vary stay checked.
    program._guards_code = []
    return program


def _tested_shapes(model: TrainedModel) -> list[tuple[int, int, int]]:
    """Return two shapes (B, X, Y); the second has another batch, aspect and grid, and no whole patches."""
    height, width = model.variant.evaluation.window
    if model.network.backbone.has_fixed_size:
        return [(1, height, width), (3, height, width)]
    return [(1, height, width), (3, max(height // 2 - 1, 1), max(3 * width // 4 - 1, 1))]


def _metadata(network: ExportedNetwork, model: TrainedModel) -> dict[str, str]:
    """Return what a user of the file needs: JSON values by name."""
    recipe, evaluation = model.variant.recipe, model.variant.evaluation
    values = {
        "regproxy_version": regproxy.__version__,
        "variant": model.variant.name,
        "opset": OPSET,
        "input": "normalised float32 RGB" if network.normalised_input else "uint8 RGB 0..255",
        "classes": model.classes,
        "palette": model.palette.tolist(),
        "mean": recipe.image_mean,
        "std": recipe.image_std,
        "patch": model.network.patch,
        "stride": model.network.stride,
        "scale": evaluation.scale,
        "window": evaluation.window,
        "window_stride": evaluation.stride,
        "fixed_size": model.network.backbone.has_fixed_size,
    }
    return {name: json.dumps(value) for name, value in values.items()}
