"""A trained network with all that it takes to label an image: its classes, normalisation and windows.

K classes, X Y the image, B batch, H W token grid, h w sub-cells a token.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from regproxy.config.variant import Variant
from regproxy.data.labels import palette
from regproxy.errors import ConfigError
from regproxy.eval.image_regions import ImageRegions, image_regions
from regproxy.eval.sliding import predict_with_confidence
from regproxy.inference.prediction import ImageSource, Prediction, read_image


class TrainedModel(nn.Module):
    """A trained network in eval mode, and the variant that says how its images are prepared.

    `network` maps normalised images to logits. `variant` holds the classes, the evaluation (scale, window,
    stride) and the normalisation.
    """

    def __init__(self, network: nn.Module, variant: Variant) -> None:
        super().__init__()
        self.network = network.eval()
        self.variant = variant

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
        if isinstance(images, (list, tuple)):
            return [self.predict(image, scales=scales) for image in images]
        image, settings = read_image(images), self._settings
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
