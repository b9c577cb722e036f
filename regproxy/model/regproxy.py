"""RegProxy: early tokens group pixels into regions, late tokens classify the regions (paper, section 4).

B batch, C width, K classes, X Y image, p patch, H W token grid, h w sub-cells a token.
"""

from torch import Tensor, nn

from regproxy.model.affinity import AffinityHead, paint
from regproxy.model.backbone import VisionTransformer
from regproxy.model.linear import ClassHead


class RegProxy(nn.Module):
    """The paper's network: a backbone, an affinity head on early tokens, a class head on late tokens.

    `patch` is the side of a token in pixels, `stride` the (vertical, horizontal) pixels per output.
    """

    def __init__(self, backbone: VisionTransformer, affinity_head: AffinityHead, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.affinity_head = affinity_head
        self.classifier = ClassHead(backbone.late_width, num_classes)
        self.patch = backbone.patch
        height, width = affinity_head.region
        self.stride = (self.patch / height, self.patch / width)

    def forward(self, images: Tensor, *, return_affinity: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Return logits (B, K, ceil(X / p) h, ceil(Y / p) w) of normalised images (B, 3, X, Y) of any size.

        With `return_affinity` return (logits, affinity), the affinity of shape (B, 9, h, w, H, W).
        """
        affinity, token_logits = self.regions(images)
        logits = paint(affinity, token_logits)
        return (logits, affinity) if return_affinity else logits

    def regions(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the affinity (B, 9, h, w, H, W) and the token logits (B, K, H, W) of normalised images."""
        early, late = self.backbone(images)  # B C H W each
        affinity = self.affinity_head(early)  # B 9 h w H W
        token_logits = self.classifier(late)  # B K H W
        return affinity, token_logits
