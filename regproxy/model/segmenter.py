"""Segmenter with a mask transformer (Strudel et al., ICCV 2021), the baseline of the supplement's Table 3.

B batch, C width, K classes, X Y image, p patch, H W token grid.
"""

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn import functional

from regproxy.errors import ConfigError
from regproxy.model.backbone import VisionTransformer
from regproxy.model.torchvision_ops import declare_missing_operators

_HEAD_WIDTH = 64


class MaskTransformer(nn.Module):
    """A transformer over patch tokens and one token per class (Segmenter, section 3.2).

    The mask of a class is the cosine between its token and every patch token, both after a linear map. A
    LayerNorm follows over the K masks of a patch.
    """

    def __init__(self, width: int, num_classes: int, *, depth: int = 2) -> None:
        super().__init__()
        if width % _HEAD_WIDTH:
            raise ConfigError(
                f"backbone width {width} is invalid: the mask transformer needs a multiple of {_HEAD_WIDTH}. "
                f"Choose another backbone."
            )
        declare_missing_operators()
        from timm.models.vision_transformer import Block

        self.project = nn.Linear(width, width)
        self.classes = nn.Parameter(torch.empty(1, num_classes, width))
        self.blocks = nn.ModuleList(
            Block(width, width // _HEAD_WIDTH, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.patch_map = nn.Linear(width, width, bias=False)
        self.class_map = nn.Linear(width, width, bias=False)
        self.mask_norm = nn.LayerNorm(num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.classes, std=0.02)
        for mapping in (self.patch_map, self.class_map):
            nn.init.normal_(mapping.weight, std=width**-0.5)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits (B, K, H, W) of the last tokens (B, C, H, W), normalised over the classes."""
        batch, _, height, width = features.shape
        patches = self.project(rearrange(features, "B C H W -> B (H W) C"))
        tokens = torch.cat([patches, self.classes.expand(batch, -1, -1)], dim=1)
        for block in self.blocks:
            tokens = block(tokens)
        patches, classes = self.norm(tokens).split([height * width, self.classes.shape[1]], dim=1)
        patches = functional.normalize(self.patch_map(patches), dim=-1)
        classes = functional.normalize(self.class_map(classes), dim=-1)
        masks = self.mask_norm(einsum(patches, classes, "B L C, B K C -> B L K"))
        return rearrange(masks, "B (H W) K -> B K H W", H=height)


class Segmenter(nn.Module):
    """A backbone with a mask transformer as its decoder: one prediction a patch.

    `patch` is the side of a token in pixels, `stride` the (vertical, horizontal) pixels per output.
    """

    def __init__(self, backbone: VisionTransformer, decoder: MaskTransformer) -> None:
        super().__init__()
        self.backbone = backbone
        self.decoder = decoder
        self.patch = backbone.patch
        self.stride = (self.patch, self.patch)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (B, K, ceil(X / p), ceil(Y / p)) of normalised images (B, 3, X, Y) of any size."""
        _, late = self.backbone(images)  # B C H W
        return self.decoder(late)
