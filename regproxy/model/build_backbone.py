"""Build a timm vision transformer as the backbone that a variant describes."""

import torch
from torch import nn

from regproxy.config.network import Backbone
from regproxy.errors import ConfigError
from regproxy.model.backbone import VisionTransformer
from regproxy.model.torchvision_ops import declare_missing_operators

# timm's modules of transformers with tokens on a grid, and the options that each needs: the final norm must
# apply to every token instead of a pooled one, and a rotary embedding must follow the size of the image.
_FAMILIES = {
    "vision_transformer": {"fc_norm": False},
    "vision_transformer_hybrid": {"fc_norm": False},
    "deit": {"fc_norm": False},
    "eva": {"use_fc_norm": False, "dynamic_img_size": True},
    "beit": {"use_fc_norm": False},
    "vision_transformer_sam": {},
}


def build_backbone(
    config: Backbone,
    *,
    image_size: tuple[int, int],
    tap: int | None,
    drop_path: float,
    multi_level: bool = False,
) -> VisionTransformer:
    """Build the backbone with random weights, its position embedding sized for `image_size` (X, Y).

    Drop path grows linearly from 0 to `drop_path` over the blocks.

    Raises:
        ConfigError: timm has no such vision transformer with tokens on a grid, the heads do not divide the
            width, the tap is not one of its blocks, or multi_level is set and it has fewer than three blocks.
    """
    declare_missing_operators()
    import timm

    name = config.timm_name
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_patch')[0]}*")[:3]
        hint = f", such as {', '.join(near)}" if near else ""
        raise ConfigError(f"timm has no model {name!r}. Choose one of its vision transformers{hint}.")
    family = timm.model_entrypoint(name).__module__.rsplit(".", 1)[-1]
    if family not in _FAMILIES:
        raise ConfigError(
            f"{name} is not a vision transformer with tokens on a grid. Choose one of timm's families "
            f"{', '.join(_FAMILIES)}, such as vit_small_patch16_384."
        )
    sizes = {"embed_dim": config.width, "depth": config.depth, "num_heads": config.heads}
    sizes = {key: value for key, value in sizes.items() if value is not None}
    with torch.device("meta"):  # one block without weights shows the model's own sizes
        template = _create_model(name, depth=1)
    width = sizes.get("embed_dim", template.embed_dim)
    modules = template.blocks[0].modules()
    heads = sizes.get("num_heads") or next(one.num_heads for one in modules if hasattr(one, "num_heads"))
    if min(sizes.values(), default=1) < 1 or width % heads:
        raise ConfigError(
            f"backbone sizes {sizes} are invalid: each must be at least 1, and the heads must divide the "
            f"width; got {heads} heads for width {width}."
        )
    patch = template.patch_embed.feat_ratio()
    grid = tuple(-(-side // patch) for side in image_size)
    img_size = tuple(patch * side for side in grid)
    vit = _create_model(name, img_size=img_size, drop_path_rate=drop_path, **_FAMILIES[family], **sizes)
    vit.attn_pool = None  # a map of tokens needs no pooling
    if tuple(vit.patch_embed.grid_size) != grid:
        raise ConfigError(f"{name} does not cut an image into patches of one size. Choose another backbone.")
    _compute_buffers(vit)
    return VisionTransformer(vit, tap=tap, multi_level=multi_level)


def _create_model(name: str, **options: object) -> nn.Module:
    import timm

    try:
        return timm.create_model(name, num_classes=0, **options)
    except AssertionError as error:
        raise ConfigError(
            f"timm cannot build {name} with {options} ({error}). Leave out its sizes or choose another one."
        ) from None


def _compute_buffers(vit: nn.Module) -> None:
    """Compute on the CPU the buffers that no state dict holds, in a network on the meta device."""
    saved = vit.state_dict().keys()
    lost = [name for name, buffer in vit.named_buffers() if buffer.is_meta and name not in saved]
    for name in lost:
        module, _, attribute = name.rpartition(".")
        buffer = torch.empty_like(vit.get_buffer(name), device="cpu")
        setattr(vit.get_submodule(module), attribute, buffer)
    with torch.device("cpu"):
        for module in vit.modules() if lost else ():
            if hasattr(module, "init_non_persistent_buffers"):
                module.init_non_persistent_buffers()
