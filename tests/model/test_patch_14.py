"""Patches of 14 pixels, which divide no usual crop: tokens, regions and counts against plain references."""

import dataclasses
import math

import pytest
import torch
from smoke_profile import SMOKE_VARIANTS
from torch import Tensor, nn
from torch.nn import functional

from regproxy.config.network import Backbone, ModelConfig
from regproxy.model.backbone import VisionTransformer
from regproxy.model.build import build
from regproxy.model.build_backbone import build_backbone
from regproxy.model.regions import class_counts
from regproxy.train.loss import upsampled_cross_entropy

DINOV2 = Backbone(timm_name="vit_small_patch14_reg4_dinov2", width=64, depth=2, heads=2)
CROP = (64, 96)  # 5 x 7 patches


def plain_late_tokens(backbone: VisionTransformer, images: Tensor) -> Tensor:
    """Return the last tokens (B, C, H, W) of a DINOv2 with registers: positions for patches only."""
    vit = backbone.vit
    rows, columns = (math.ceil(side / 14) for side in images.shape[2:])
    padded = torch.zeros(len(images), 3, rows * 14, columns * 14)
    padded[:, :, : images.shape[2], : images.shape[3]] = images
    patches = functional.conv2d(padded, vit.patch_embed.proj.weight, vit.patch_embed.proj.bias, stride=14)
    position = vit.pos_embed.mT.unflatten(2, (5, 7))
    if (rows, columns) != (5, 7):
        position = functional.interpolate(position, (rows, columns), mode="bicubic", align_corners=False)
    prefix = torch.cat([vit.cls_token, vit.reg_token], dim=1).expand(len(images), -1, -1)
    tokens = torch.cat([prefix, (patches + position).flatten(2).mT], dim=1)
    for block in vit.blocks:
        tokens = block(tokens)
    return vit.norm(tokens)[:, prefix.shape[1] :].mT.unflatten(2, (rows, columns))


@pytest.mark.parametrize("size", [(70, 98), CROP, (57, 71), (112, 30), (9, 100)])
def test_tokens_equal_the_plain_forward_on_any_grid(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(DINOV2, image_size=CROP, tap=0, drop_path=0.0).eval()
    nn.init.normal_(backbone.vit.pos_embed)
    assert backbone.patch == 14 and backbone.grid == (5, 7)
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(
            backbone(images)[1], plain_late_tokens(backbone, images), rtol=0, atol=2e-5
        )


def test_a_training_step_reduces_the_loss_on_a_crop_of_no_whole_patches() -> None:
    variant = SMOKE_VARIANTS["cityscapes", "region-4x4"]
    config = ModelConfig(
        arch="DINOv2", backbone=DINOV2, head="regproxy", region=(4, 4), conv="depthwise", tap=0, drop_path=0.0
    )
    recipe = dataclasses.replace(variant.recipe, crop=CROP)
    torch.manual_seed(0)
    model = build(dataclasses.replace(variant, model=config, recipe=recipe)).train()
    assert model.stride == (3.5, 3.5)
    images, labels = torch.randn(2, 3, *CROP), torch.randint(0, 8, (2, *CROP))
    losses = []
    for _ in range(2):
        logits = model(images)
        assert logits.shape[2:] == (5 * 4, 7 * 4)
        loss = upsampled_cross_entropy(logits, labels, patch=model.patch)
        cut = functional.interpolate(logits, (70, 98), mode="bilinear")[..., :64, :96]
        torch.testing.assert_close(loss, functional.cross_entropy(cut, labels))
        losses.append(loss.item())
        loss.backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.05 * parameter.grad
    assert losses[1] < losses[0]


def test_pixels_count_in_the_sub_cell_of_3_5_pixels_that_holds_their_centre() -> None:
    labels = torch.randint(0, 3, (1, *CROP), generator=torch.Generator().manual_seed(0))
    affinity = torch.full((1, 9, 4, 4, 5, 7), 1 / 9)
    counts = class_counts(labels, affinity, num_classes=3, patch=14)
    expected = torch.zeros(1, 3, 20, 28)
    for y in range(CROP[0]):
        for x in range(CROP[1]):
            expected[0, labels[0, y, x], int((y + 0.5) / 3.5), int((x + 0.5) / 3.5)] += 1
    assert torch.equal(counts, expected)
