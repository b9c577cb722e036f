"""Build the network that a variant describes."""

from torch import nn

from regproxy.config.variant import Variant
from regproxy.errors import ConfigError
from regproxy.model.affinity import AffinityHead
from regproxy.model.build_backbone import build_backbone
from regproxy.model.linear import LinearNetwork
from regproxy.model.regproxy import RegProxy
from regproxy.model.segmenter import MaskTransformer, Segmenter


def build(variant: Variant) -> nn.Module:
    """Build a variant's network with random weights, its position embedding sized for the crop.

    Raises:
        ConfigError: timm has no such vision transformer, or its sizes, its tap or the window are invalid.
    """
    config, num_classes = variant.model, variant.data.num_classes
    backbone = build_backbone(
        config.backbone,
        image_size=variant.recipe.crop,
        tap=config.tap,
        drop_path=config.drop_path,
        multi_level=config.multi_level,
    )
    window = tuple(-(-side // backbone.patch) for side in variant.evaluation.window)
    if backbone.has_fixed_size and window != backbone.grid:
        raise ConfigError(
            f"window {list(variant.evaluation.window)} is invalid: {config.backbone.timm_name} takes images "
            f"of one size only. Set the window to the crop {list(variant.recipe.crop)}."
        )
    match config.head:
        case "linear":
            return LinearNetwork(backbone, num_classes)
        case "segmenter":
            return Segmenter(backbone, MaskTransformer(backbone.late_width, num_classes))
        case "regproxy":
            return RegProxy(backbone, AffinityHead(backbone.width, config.region, config.conv), num_classes)
