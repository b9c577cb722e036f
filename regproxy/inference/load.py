"""Load a trained network from where it lies."""

import os
from pathlib import Path

import torch

from regproxy.errors import DataError
from regproxy.inference.hub import SCHEME, download_model
from regproxy.inference.trained_model import TrainedModel
from regproxy.model.device import default_device, named_device
from regproxy.runs.saved_model import load_model, load_record, run_variant
from regproxy.runs.stored_run import fetch_run
from regproxy.storage.remote import is_url

_CHECKPOINTS = (".pth", ".pt")
_SOURCES = (
    "a run folder, a .safetensors file beside its run.json, a .pth file that the paper's authors released, "
    "the URL of a stored run, such as s3://bucket/runs/demo/ade20k/4x4/0, or hf://owner/name"
)


def load(source: str | os.PathLike[str], device: str | torch.device | None = None) -> TrainedModel:
    """Return a trained network, ready to predict.

    Args:
        source: one of
            - a run folder, with run.json and model.safetensors,
            - a .safetensors file with its run.json beside it,
            - a .pth file that the paper's authors released; nothing but tensors is unpickled,
            - the URL of a run on a storage, such as s3://, gs://, https:// or file://; it is downloaded once
              and each file is verified,
            - hf://owner/name or hf://owner/name@revision, on the Hugging Face Hub.
        device: such as "cpu" or "cuda:1"; by default the GPU if there is one.

    Raises:
        DataError: the source is missing or damaged, is none of these, or its weights do not fit.
        StorageError: a storage or the Hub cannot be reached.
        ConfigError: the device cannot be used.
    """
    chosen = default_device() if device is None else named_device(device)
    location = os.fspath(source)
    if location.startswith(SCHEME):
        path = download_model(location)
    elif is_url(location):
        path = fetch_run(location)
    else:
        path = Path(location)
    if path.suffix in _CHECKPOINTS and not path.is_dir():
        from regproxy.released.checkpoint_import import read_official

        network, record = read_official(path)
        network = network.to(chosen)
    elif not path.exists():
        raise DataError(f"{path} is missing. Give {_SOURCES}.")
    elif path.is_file() and path.suffix != ".safetensors":
        raise DataError(f"{path} is no model: expected {_SOURCES}.")
    else:
        network, record = load_model(path, chosen), load_record(path)
    return TrainedModel(network, run_variant(record), record)
