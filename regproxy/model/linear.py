"""The class head, and the linear baseline: the class head on a backbone, without regions.

B batch, C width, K classes, X Y image, p patch, H W token grid.
"""

from einops import rearrange
from torch import Tensor, nn

from regproxy.model.backbone import VisionTransformer


class ClassHead(nn.Linear):
    """One linear layer on every token of a map, initialised from N(0, 0.02) (paper section 4.3)."""

    def reset_parameters(self) -> None:
        """Draw the weights from N(0, 0.02) and set the bias to 0."""
        nn.init.normal_(self.weight, std=0.02)
        nn.init.zeros_(self.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return the token logits (B, K, H, W) of tokens (B, C, H, W)."""
        scores = super().forward(rearrange(features, "B C H W -> B H W C"))
        return rearrange(scores, "B H W K -> B K H W")


class LinearNetwork(nn.Module):
    """The linear baseline: one prediction a patch from the last tokens (grey rows of Table 1).

    `patch` is the side of a token in pixels, `stride` the (vertical, horizontal) pixels per output.
    """

    def __init__(self, backbone: VisionTransformer, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.classifier = ClassHead(backbone.late_width, num_classes)
        self.patch = backbone.patch
        self.stride = (self.patch, self.patch)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, ceil(X / p), ceil(Y / p)) of normalised images (B, 3, X, Y) of any size."""
        _, late = self.backbone(images)  # B C H W
        return self.classifier(late)
