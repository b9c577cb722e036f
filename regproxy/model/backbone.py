"""The backbone: a timm vision transformer, plain or behind a convolutional stem, that gives early and late
tokens.

B batch, C width, X Y image, p patch, H W token grid, P prefix tokens (cls, dist, registers), N = P + H W.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.variant import Backbone
from regproxy.model.torchvision_ops import declare_missing_operators

_PREFIX_TOKENS = ("cls_token", "dist_token", "reg_token")  # in timm's order
_FAMILIES = ("vision_transformer", "vision_transformer_hybrid", "deit")  # timm's modules of such models


class VisionTransformer(nn.Module):
    """Wraps a timm ViT so that it takes images of any size and gives the tokens of two layers."""

    def __init__(self, vit: nn.Module, *, tap: int | None, multi_level: bool = False) -> None:
        super().__init__()
        depth = len(vit.blocks)
        if tap is not None and not -1 <= tap < depth:
            raise ValueError(f"tap {tap} is no block of this backbone, choose one of -1 to {depth - 1}")
        if multi_level and depth < 3:
            raise ValueError(f"multi_level reads three layers, this backbone has {depth}; take 3 or more")
        self.vit = vit
        self.tap = tap
        self.levels = (depth // 2 - 1, 3 * depth // 4 - 1) if multi_level else ()  # layers L/2 and 3L/4
        self.patch = max(vit.patch_embed.feat_ratio(as_scalar=False))
        self.width = vit.embed_dim
        self.late_width = self.width * (len(self.levels) + 1)
        self.grid = vit.patch_embed.grid_size  # that the position embedding was made for

    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        """Returns the tap's tokens (B, C, H, W) and the late ones (B, C', H, W), without prefix tokens.

        The tap is the residual stream after block `tap` as it is, -1 being the tokens before the first
        block; None where there is no tap. Late are the last layer's tokens after the final LayerNorm; with
        `multi_level` C' = 3 C, the streams after layers L/2 and 3L/4 (as they are) standing before them.

        Args:
            images: (B, 3, X, Y), normalised; padded with 0 at the bottom and right to whole patches.
        """
        patches = self._patches(_pad_to_patch(images, self.patch))  # B C H W
        grid = patches.shape[2:]
        tokens = self._embed(patches)  # B N C
        early = tokens if self.tap == -1 else None
        late = []
        for index, block in enumerate(self.vit.blocks):
            tokens = block(tokens)
            if index == self.tap:
                early = tokens
            if index in self.levels:
                late.append(tokens)
        late.append(self.vit.norm(tokens))
        return None if early is None else self._as_map(early, grid), self._as_map(torch.cat(late, -1), grid)

    def _patches(self, images: Tensor) -> Tensor:
        """Projects each patch of (B, 3, X, Y), or what a hybrid's stem makes of it, to (B, C, H, W)."""
        embed = self.vit.patch_embed
        stem = embed.backbone(images) if hasattr(embed, "backbone") else images
        return embed.proj(stem[-1] if isinstance(stem, list) else stem)  # some stems give all their levels

    def _embed(self, patches: Tensor) -> Tensor:
        """Turns patches (B, C, H, W) into tokens (B, N, C) with prefix tokens and position embedding."""
        vit = self.vit
        position = self._position_embedding(patches.shape[2:])
        tokens = rearrange(patches, "B C H W -> B (H W) C")
        tokens = getattr(vit.patch_embed, "norm", nn.Identity())(tokens)  # hybrids have none
        prefix = [getattr(vit, name) for name in _PREFIX_TOKENS if getattr(vit, name, None) is not None]
        prefix = [token.expand(len(tokens), -1, -1) for token in prefix]
        if vit.no_embed_class:
            tokens = torch.cat([*prefix, tokens + position], dim=1)
        else:
            tokens = torch.cat([*prefix, tokens], dim=1) + position
        return vit.norm_pre(vit.pos_drop(tokens))

    def _position_embedding(self, grid: torch.Size) -> Tensor:
        """Returns the embedding for an H x W grid, resized bicubically where it was made for another."""
        from timm.layers import resample_abs_pos_embed

        return resample_abs_pos_embed(
            self.vit.pos_embed,
            new_size=list(grid),
            old_size=list(self.grid),
            num_prefix_tokens=0 if self.vit.no_embed_class else self.vit.num_prefix_tokens,
            antialias=False,
        )

    def _as_map(self, tokens: Tensor, grid: torch.Size) -> Tensor:
        spatial = tokens[:, self.vit.num_prefix_tokens :]
        return rearrange(spatial, "B (H W) C -> B C H W", H=grid[0], W=grid[1])


def build_backbone(
    config: Backbone,
    *,
    image_size: tuple[int, int],
    tap: int | None,
    drop_path: float,
    multi_level: bool = False,
) -> VisionTransformer:
    """Makes the backbone with random weights, its position embedding sized for `image_size` (X, Y).

    Drop path grows linearly from 0 to `drop_path` over the blocks.

    Raises:
        ValueError: timm does not know the name, it is no such transformer, the heads do not divide the
            width, the tap is no block of it, or multi_level finds fewer than three blocks.
    """
    declare_missing_operators()
    import timm

    name = config.timm_name
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_patch')[0]}*")[:3]
        hint = f", near are {', '.join(near)}" if near else ""
        raise ValueError(f"timm has no model {name!r}, choose one of its vision transformers{hint}")
    if not timm.models.is_model_in_modules(name, _FAMILIES):
        raise ValueError(
            f"{name} is no plain or hybrid vision transformer, take one such as vit_small_patch16_384"
        )
    sizes = {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    sizes = {key: value for key, value in sizes.items() if value is not None}
    with torch.device("meta"):  # one block without weights, to learn the model's own sizes
        template = timm.create_model(name, num_classes=0, depth=1, weight_init="skip")
    width = sizes.get("embed_dim", template.embed_dim)
    blocks = template.blocks[0].modules()  # one of them may hold attentions side by side
    heads = sizes.get("num_heads") or next(one.num_heads for one in blocks if hasattr(one, "num_heads"))
    if min(sizes.values(), default=1) < 1 or width % heads:
        raise ValueError(
            f"backbone sizes {sizes} are not allowed, take 1 or more each and a width that the heads divide "
            f"(now {width} and {heads})"
        )
    patch = template.patch_embed.feat_ratio()
    vit = timm.create_model(
        name,
        num_classes=0,
        img_size=tuple(side + -side % patch for side in image_size),
        drop_path_rate=drop_path,
        fc_norm=False,  # the final norm stands before the head, over all tokens, in every model
        **sizes,
    )
    vit.attn_pool = None  # pooling has no part in a map of tokens
    if tuple(vit.patch_embed.grid_size) != tuple(-(-side // patch) for side in image_size):
        raise ValueError(f"{name} does not cut an image into patches of one size, choose another backbone")
    return VisionTransformer(vit, tap=tap, multi_level=multi_level)


def _pad_to_patch(images: Tensor, patch: int) -> Tensor:
    bottom, right = (-side % patch for side in images.shape[2:])
    return functional.pad(images, (0, right, 0, bottom)) if bottom or right else images
