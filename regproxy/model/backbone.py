"""The backbone: a timm vision transformer that returns the tokens of an early layer and of the last one.

B batch, C width, X Y image, p patch, H W token grid, P prefix tokens (cls, dist, registers), N = P + H W.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from regproxy.errors import ConfigError
from regproxy.model.interpolation import whole_patches

_PREFIX_TOKENS = ("cls_token", "dist_token", "reg_token")  # in timm's order


class VisionTransformer(nn.Module):
    """A timm vision transformer for images of any size that returns the tokens of two layers."""

    def __init__(self, vit: nn.Module, *, tap: int | None, multi_level: bool = False) -> None:
        super().__init__()
        depth = len(vit.blocks)
        if tap is not None and not -1 <= tap < depth:
            raise ConfigError(
                f"tap {tap} is invalid: this backbone has {depth} blocks. Set -1 to {depth - 1}."
            )
        if multi_level and depth < 3:
            raise ConfigError(
                f"multi_level reads three layers; this backbone has {depth}. Set its depth to 3 or more."
            )
        self.vit = vit
        self.tap = tap
        self.levels = (depth // 2 - 1, 3 * depth // 4 - 1) if multi_level else ()  # layers L/2 and 3L/4
        self.patch = max(vit.patch_embed.feat_ratio(as_scalar=False))
        self.width = vit.embed_dim
        self.late_width = vit.num_features + self.width * len(self.levels)
        self.grid = tuple(vit.patch_embed.grid_size)  # (H, W) of the position embedding
        self.num_prefix = getattr(vit, "num_prefix_tokens", 0)
        self.prefix_has_position = not getattr(vit, "no_embed_class", False)
        self.is_sam = hasattr(vit, "neck")  # its blocks take tokens on a grid; its last norm is a "neck"
        self.has_fixed_size = any("relative_position" in name for name, _ in vit.named_parameters())
        vit.patch_embed.strict_img_size = False

    def forward(self, images: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return the early tokens (B, C, H, W) and the late tokens (B, C', H, W), without prefix tokens.

        Early tokens are the residual stream after block `tap`, without a norm; -1 is the input of the first
        block. They are None if `tap` is None. Late tokens are those of the last layer after the final norm.
        With `multi_level`, the streams after layers L/2 and 3L/4 come before them, and C' = 3 C.

        Args:
            images: (B, 3, X, Y), normalised; padded with 0 at the bottom and right to whole patches.

        Raises:
            ConfigError: the backbone has a relative position bias (BEiT) and the images have another size.
        """
        height, width = images.shape[2:]
        bottom, right = (whole_patches(side, self.patch) - side for side in (height, width))
        grid = ((height + bottom) // self.patch, (width + right) // self.patch)
        images = functional.pad(images, (0, right, 0, bottom))
        tokens = self._embed(images, grid)
        early = tokens if self.tap == -1 else None
        late = []
        for index, (block, arguments) in enumerate(zip(self.vit.blocks, self._arguments(grid), strict=True)):
            tokens = block(tokens, **arguments)
            if index == self.tap:
                early = tokens
            if index in self.levels:
                late.append(tokens)
        late.append(self._final_norm(tokens))
        return None if early is None else self._as_map(early, grid), self._as_map(torch.cat(late, -1), grid)

    def _embed(self, images: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the input of the first block: (B, N, C), for SAM (B, H, W, C)."""
        vit = self.vit
        tokens = vit.patch_embed(images)
        tokens = tokens.flatten(1, -2)  # B (H W) C
        prefix = [getattr(vit, name) for name in _PREFIX_TOKENS if getattr(vit, name, None) is not None]
        prefix = [token.expand(tokens.shape[0], -1, -1) for token in prefix]
        position = self._position_embedding(grid)
        if self.prefix_has_position:
            tokens = torch.cat([*prefix, tokens], dim=1) + position
        else:
            tokens = torch.cat([*prefix, tokens + position], dim=1)
        tokens = vit.pos_drop(tokens)
        tokens = vit.norm_pre(tokens) if hasattr(vit, "norm_pre") else tokens
        return tokens.unflatten(1, grid) if self.is_sam else tokens

    def _position_embedding(self, grid: tuple[int, int]) -> Tensor | float:
        """Return the embedding for an H x W grid, resized bicubically if needed; 0 if there is none."""
        if self.vit.pos_embed is None:
            return 0.0
        position = self.vit.pos_embed.flatten(1, -2)  # SAM's is 1 H W C
        num_prefix = self.num_prefix if self.prefix_has_position else 0
        return resize_position_embedding(position, self.grid, grid, num_prefix)

    def _arguments(self, grid: tuple[int, int]) -> list[dict[str, Tensor]]:
        """Return what each block takes besides the tokens: its rotary position embedding, if it has one."""
        if self.has_fixed_size and grid != self.grid:
            needed, got = ([side * self.patch for side in sides] for sides in (self.grid, grid))
            raise ConfigError(
                f"this backbone's relative position bias fits images of {needed} pixels only; got {got}. "
                f"Set the evaluation's window to the crop, or choose another backbone."
            )
        depth = len(self.vit.blocks)
        if getattr(self.vit, "rope", None) is None:
            return [{}] * depth
        rotary = self.vit.rope.get_embed(shape=grid)
        return [{"rope": one} for one in (rotary if self.vit.rope_mixed else [rotary] * depth)]

    def _final_norm(self, tokens: Tensor) -> Tensor:
        if self.is_sam:
            return rearrange(self.vit.neck(rearrange(tokens, "B H W C -> B C H W")), "B C H W -> B H W C")
        return self.vit.norm(tokens)

    def _as_map(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        if not self.is_sam:
            tokens = tokens[:, self.num_prefix :].unflatten(1, grid)
        return rearrange(tokens, "B H W C -> B C H W")


def resize_position_embedding(
    position: Tensor, old_grid: tuple[int, int], new_grid: tuple[int, int], num_prefix: int
) -> Tensor:
    """Return a position embedding (1, P + H W, C) for another grid: bicubic, without antialiasing."""
    from timm.layers import resample_abs_pos_embed

    return resample_abs_pos_embed(
        position, list(new_grid), list(old_grid), num_prefix_tokens=num_prefix, antialias=False
    )
