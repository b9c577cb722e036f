"""The mask transformer against the equations of the Segmenter paper."""

import pytest
import torch
from torch.nn import functional

from regproxy.config.network import Backbone
from regproxy.errors import ConfigError
from regproxy.model.build_backbone import build_backbone
from regproxy.model.segmenter import MaskTransformer, Segmenter

BACKBONE = Backbone(timm_name="vit_tiny_patch16_384", width=64, depth=2, heads=1)


def test_masks_are_cosines_of_patches_and_classes() -> None:
    torch.manual_seed(0)
    decoder = MaskTransformer(64, 5).eval()
    features = torch.randn(2, 64, 3, 4)
    logits = decoder(features)
    assert logits.shape == (2, 5, 3, 4)

    tokens = torch.cat([decoder.project(features.flatten(2).mT), decoder.classes.expand(2, -1, -1)], dim=1)
    for block in decoder.blocks:
        tokens = block(tokens)
    tokens = decoder.norm(tokens)
    patches, classes = decoder.patch_map(tokens[:, :12]), decoder.class_map(tokens[:, 12:])
    cosines = functional.cosine_similarity(patches[:, :, None], classes[:, None], dim=-1)
    torch.testing.assert_close(logits.flatten(2).mT, functional.layer_norm(cosines, (5,)))


def test_any_size_goes_in_and_everything_learns() -> None:
    backbone = build_backbone(BACKBONE, image_size=(64, 64), tap=None, drop_path=0.0)
    model = Segmenter(backbone, MaskTransformer(64, 5))
    logits = model(torch.randn(2, 3, 40, 70))
    assert logits.shape == (2, 5, 3, 5) and (model.patch, model.stride) == (16, (16, 16))
    (logits.square() * torch.rand_like(logits)).sum().backward()
    assert not [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]


def test_a_width_without_whole_heads_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"backbone width 96 is invalid: .* a multiple of 64"):
        MaskTransformer(96, 5)
