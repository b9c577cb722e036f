"""The authors' names of a network's tensors; values and channel order are the same as ours."""

import re
from collections.abc import Iterable

_RENAMED = (  # (pattern of our name, replacement by the authors' name), applied in this order
    (r"^backbone\.vit\.", "backbone."),
    (r"^backbone\.blocks\.(\d+)\.norm([12])\.", r"backbone.layers.\1.ln\2."),
    (r"^backbone\.blocks\.(\d+)\.attn\.qkv\.", r"backbone.layers.\1.attn.attn.in_proj_"),  # rows q, k, v
    (r"^backbone\.blocks\.(\d+)\.attn\.proj\.", r"backbone.layers.\1.attn.attn.out_proj."),
    (r"^backbone\.blocks\.(\d+)\.mlp\.fc1\.", r"backbone.layers.\1.ffn.layers.0.0."),
    (r"^backbone\.blocks\.(\d+)\.mlp\.fc2\.", r"backbone.layers.\1.ffn.layers.1."),
    (r"^backbone\.norm\.", "backbone.ln1."),
    (r"^classifier\.", "decode_head.mlp.0.0."),
    (r"^affinity_head\.stem\.0\.", "decode_head.affinity_head.0.depthwise_conv.conv."),
    (r"^affinity_head\.stem\.1\.", "decode_head.affinity_head.0.depthwise_conv.bn."),
    (r"^affinity_head\.stem\.3\.", "decode_head.affinity_head.0.pointwise_conv.conv."),
    (r"^affinity_head\.stem\.4\.", "decode_head.affinity_head.0.pointwise_conv.bn."),
    (r"^affinity_head\.out\.", "decode_head.affinity_head.1.conv."),
)


def official_names(names: Iterable[str]) -> dict[str, str]:
    """Return the authors' name of every tensor of one of our networks, by our name."""
    names = list(names)
    hybrid = any(".patch_embed.backbone." in name for name in names)
    return {name: _official_name(name, hybrid=hybrid) for name in names}


def _official_name(name: str, *, hybrid: bool) -> str:
    """Return the authors' name of a tensor of our network; a hybrid has timm's name of the projection."""
    for ours, theirs in _RENAMED:
        name = re.sub(ours, theirs, name)
    return name if hybrid else name.replace("backbone.patch_embed.proj.", "backbone.patch_embed.projection.")
