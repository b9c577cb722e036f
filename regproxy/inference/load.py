"""Load a trained network from where it lies."""

import os

import torch

from regproxy.inference.trained_model import TrainedModel
from regproxy.model.device import default_device, named_device
from regproxy.runs.saved_model import load_model, load_variant


def load(source: str | os.PathLike, device: str | torch.device | None = None) -> TrainedModel:
    """Return the trained network of a run folder, ready to predict.

    Args:
        source: a folder with run.json and model.safetensors.
        device: such as "cpu" or "cuda:1"; by default the GPU if there is one.

    Raises:
        DataError: a file is missing or damaged, or the weights do not fit.
        ConfigError: the device cannot be used.
    """
    chosen = default_device() if device is None else named_device(device)
    return TrainedModel(load_model(source, chosen), load_variant(source))
