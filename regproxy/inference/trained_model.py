"""A trained network with all that it takes to label an image: its classes, normalisation and windows.

K classes, X Y the image, B batch, H W token grid, h w sub-cells a token.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor, nn

from regproxy.config.variant import Variant
from regproxy.data.labels import palette
from regproxy.errors import ConfigError
from regproxy.eval.image_regions import ImageRegions, image_regions
from regproxy.eval.sliding import predict_with_confidence
from regproxy.inference.hub import upload_folder, write_repository
from regproxy.inference.prediction import ImageSource, Prediction, read_image
from regproxy.runs.record import RECORD_FORMAT


class TrainedModel(nn.Module):
    """A trained network in eval mode, and the variant that says how its images are prepared.

    `network` maps normalised images to logits. `variant` holds the classes, the evaluation (scale, window,
    stride) and the normalisation. `record` is the run record: the variant, and how it was trained.
    """

    def __init__(self, network: nn.Module, variant: Variant, record: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        self.network = network.eval()
        self.variant = variant
        self.record = {"format": RECORD_FORMAT, **(record or {}), "variant": variant.to_dict()}

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
    ) -> "TrainedModel":
        """Return a model of the Hugging Face Hub by its owner/name, or one that `save_pretrained` saved.

        Args:
            name: owner/name, or an existing folder, which is preferred.
            revision: a branch, tag or commit on the Hub; None for the newest.
            device: as in `regproxy.load`, whose errors are raised.
        """
        from regproxy.inference.load import load

        if Path(name).is_dir():
            return load(name, device)
        return load(f"hf://{name}@{revision}" if revision else f"hf://{name}", device)

    def save_pretrained(
        self,
        folder: str | os.PathLike[str],
        *,
        result: str | os.PathLike[str] | None = None,
        license: str = "other",
    ) -> None:
        """Write model.safetensors, README.md (the model card) and run.json, which `regproxy.load` reads.

        Args:
            folder: created if it is missing. Files of an earlier call are replaced.
            result: the run's result record, such as results/demo/ade20k/4x4/0.json, for the card's scores.
            license: the Hub's identifier of the weights' licence, for the card, such as "mit".

        Raises:
            DataError: the result record is missing or of another run, or README.md there is not a model card.
        """
        write_repository(self.network, self.record, Path(folder), result=result, license=license)

    def push_to_hub(
        self,
        name: str,
        *,
        result: str | os.PathLike[str] | None = None,
        license: str = "other",
        revision: str | None = None,
        private: bool = False,
        token: str | None = None,
        message: str = "Upload the model",
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face Hub, and return the URL of the commit.

        Args:
            name: owner/name of the repository, which is created if it is missing.
            result, license: as in `save_pretrained`.
            revision: the branch; None for the main one.
            private: whether a new repository is private.
            token: an access token; None for the one of `hf auth login` or of HF_TOKEN.
            message: the first line of the commit.

        Raises:
            DataError: as in `save_pretrained`, or the owner or branch does not exist.
            ConfigError: the name is invalid, or huggingface_hub is not installed.
            StorageError: the Hub cannot be reached or refuses the upload.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, result=result, license=license)
            return upload_folder(
                Path(folder), name, revision=revision, private=private, token=token, message=message
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the K classes, in the order of their ids."""
        return self.variant.data.classes

    @property
    def palette(self) -> np.ndarray:
        """The colours of the classes, uint8 (K, 3) RGB."""
        return palette(self.variant.data)

    @property
    def device(self) -> torch.device:
        """The device of the weights; `model.to(...)` moves them."""
        return next(self.parameters()).device

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, ceil(X / p) h, ceil(Y / p) w) of normalised images (B, 3, X, Y), patch p."""
        return self.network(images)

    def regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the affinity (B, 9, h, w, H, W) and the token logits (B, K, H, W) of normalised images.

        Raises:
            ConfigError: the network has no regions; only RegProxy networks have them.
        """
        self._require_regions()
        return self.network.regions(images)

    @overload
    def predict(self, images: ImageSource, *, scales: Sequence[float] = ()) -> Prediction: ...

    @overload
    def predict(self, images: Sequence[ImageSource], *, scales: Sequence[float] = ()) -> list[Prediction]: ...

    def predict(
        self, images: ImageSource | Sequence[ImageSource], *, scales: Sequence[float] = ()
    ) -> Prediction | list[Prediction]:
        """Label images of any size as in the evaluation: rescaled, normalised and cut into windows.

        Args:
            images: one image or a list: a path, a PIL image, or an array (X, Y, 3) or (X, Y), uint8 RGB. A
                photo is turned upright as its EXIF orientation says.
            scales: ratios such as (0.75, 1.0, 1.25); averages over them, each also flipped.

        Returns:
            A prediction for one image, a list of predictions for a list.

        Raises:
            DataError: a file is missing or cannot be decoded, or an array has another shape or type.
            ConfigError: a scale is not positive.
        """
        if isinstance(images, str) or not isinstance(images, Sequence):
            return self._predict(read_image(images), scales)
        return [self._predict(read_image(image), scales) for image in images]

    def _predict(self, image: np.ndarray, scales: Sequence[float]) -> Prediction:
        settings = self._settings
        if scales:
            settings["evaluation"] = replace(self.variant.evaluation, multi_scale_ratios=tuple(scales))
        labels, confidence = predict_with_confidence(
            self.network, image, **settings, multi_scale=bool(scales)
        )
        return Prediction(image, labels, confidence, self.classes, self.palette, self.image_regions)

    def image_regions(self, image: ImageSource) -> ImageRegions:
        """Return the regions and token classes of one image of any size, on one grid of tokens.

        Raises:
            ConfigError: the network has no regions.
            DataError: as in `predict`.
        """
        self._require_regions()
        return image_regions(self.network, read_image(image), **self._settings)

    @property
    def _settings(self) -> dict[str, Any]:
        recipe = self.variant.recipe
        return {
            "evaluation": self.variant.evaluation,
            "mean": recipe.image_mean,
            "std": recipe.image_std,
        }

    def _require_regions(self) -> None:
        if self.variant.model.head != "regproxy":
            raise ConfigError(
                f"the head {self.variant.model.head} has no regions. Load a network with head regproxy."
            )
