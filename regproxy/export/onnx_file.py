"""Write and run ONNX files. The packages of the extra `export` are imported when they are needed."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from regproxy.errors import ConfigError

OPSET = 20
_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
_MAX_BYTES = 1_900_000_000  # of weights in one file; a protocol buffer holds 2 GiB


def require_onnx() -> None:
    """Raise ConfigError if a package that the export to ONNX needs is not installed."""
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"the export to ONNX needs {', '.join(missing)}. Run pip install 'regproxy[export]'."
        )


@torch.no_grad()
def write_onnx(
    program: torch.export.ExportedProgram,
    path: Path,
    *,
    axes: Mapping[str, tuple[str, ...]],
    metadata: Mapping[str, str],
) -> None:
    """Write a traced network as an ONNX file; weights of more than 1.9 GB lie in `<name>.data` beside it.

    Args:
        axes: the input and the outputs, in order, with a name for each of their dimensions.
        metadata: written as the file's metadata_props.
    """
    names = list(axes)
    written = torch.onnx.export(
        program,
        input_names=names[:1],
        output_names=names[1:],
        opset_version=OPSET,
        dynamo=True,
        verbose=False,
    )
    model = written.model
    for value in (*model.graph.inputs, *model.graph.outputs):
        for dimension, name in enumerate(axes[value.name]):
            if not isinstance(value.shape[dimension], int):
                value.shape[dimension] = name
    model.metadata_props.update(metadata)
    size = sum(value.const_value.nbytes for value in model.graph.initializers.values())
    written.save(path, external_data=size > _MAX_BYTES)


def onnx_runner(path: Path) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs a file with ONNX Runtime on the CPU: a tensor to a list of tensors."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def run(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(output) for output in session.run(None, {name: images.numpy()})]

    return run
