"""The network as it is exported: from pixels to logits and labels, for any batch and any size.

B batch, K classes, X Y image, p patch, h' w' logits (ceil(X / p) h, ceil(Y / p) w).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from regproxy.inference.trained_model import TrainedModel
from regproxy.model.interpolation import whole_patches


class ExportedNetwork(nn.Module):
    """A trained network with its normalisation and, with `upsample`, the class of every pixel.

    `axes` names the input, "pixels" (uint8) or with `normalised_input` "images" (float32), the outputs
    "logits" and with `upsample` "labels", and the dimensions of each.
    """

    def __init__(self, model: TrainedModel, *, upsample: bool, normalised_input: bool) -> None:
        super().__init__()
        self.network = model.network
        self.upsample = upsample
        self.normalised_input = normalised_input
        self.axes = {
            "images" if normalised_input else "pixels": ("batch", "channels", "height", "width"),
            "logits": ("batch", "classes", "rows", "columns"),
        }
        if upsample:
            self.axes["labels"] = ("batch", "height", "width")
        recipe = model.variant.recipe
        for name, statistic in (("mean", recipe.image_mean), ("std", recipe.image_std)):
            self.register_buffer(name, torch.tensor(statistic)[:, None, None])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return logits float32 (B, K, h', w') and, with `upsample`, labels uint8 (B, X, Y).

        Args:
            images: RGB (B, 3, X, Y): uint8 0..255, or normalised float32 with `normalised_input`.
        """
        if not self.normalised_input:
            images = (images.float() - self.mean) / self.std
        logits = self.network(images)
        return (logits, self.labels(logits, images.shape[2:])) if self.upsample else (logits,)

    def labels(self, logits: Tensor, size: torch.Size) -> Tensor:
        """Return the class of every pixel, uint8 (B, X, Y), of logits (B, K, h', w') and the images' size.

        Logits cover whole patches: they are interpolated to these and cut to the size.
        """
        padded = [whole_patches(side, self.network.patch) for side in size]
        full = functional.interpolate(logits, padded, mode="bilinear", align_corners=False)
        return full[..., : size[0], : size[1]].argmax(dim=1).to(torch.uint8)

    def random_images(self, batch: int, size: tuple[int, int]) -> Tensor:
        """Return images of noise (B, 3, X, Y) of the type that `forward` takes; the same at every call."""
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (batch, 3, *size), generator=generator, dtype=torch.uint8)
        return (pixels.float() - self.mean) / self.std if self.normalised_input else pixels
