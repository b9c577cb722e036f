"""Build the network that a variant describes."""

from torch import nn

from regproxy.config.variant import Variant
from regproxy.model.affinity import AffinityHead
from regproxy.model.backbone import build_backbone
from regproxy.model.linear import LinearNetwork
from regproxy.model.regproxy import RegProxy
from regproxy.model.segmenter import MaskTransformer, Segmenter


def build(variant: Variant) -> nn.Module:
    """Makes a variant's network with freshly drawn weights, position embedding sized for its crop.

    Raises:
        ValueError: the backbone is no transformer that timm knows, or has no such sizes or tap.
    """
    config, num_classes = variant.model, variant.data.num_classes
    backbone = build_backbone(
        config.backbone,
        image_size=variant.recipe.crop,
        tap=config.tap,
        drop_path=config.drop_path,
        multi_level=config.multi_level,
    )
    match config.head:
        case "linear":
            return LinearNetwork(backbone, num_classes)
        case "segmenter":
            return Segmenter(backbone, MaskTransformer(backbone.width, num_classes))
        case "regproxy":
            return RegProxy(backbone, AffinityHead(backbone.width, config.region, config.conv), num_classes)
