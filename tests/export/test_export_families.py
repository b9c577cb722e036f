"""ONNX files of every head and of several families of backbones against the network, with random weights."""

import dataclasses
from pathlib import Path

import pytest
import torch
from saved_runs import VARIANT

from regproxy.config.network import Backbone, ModelConfig
from regproxy.export.export_file import compare, export
from regproxy.export.exported_network import ExportedNetwork
from regproxy.export.onnx_file import onnx_runner
from regproxy.inference.trained_model import TrainedModel
from regproxy.model.build import build

SHAPES = [(1, 64, 64), (2, 64, 96), (5, 33, 17), (1, 5, 100), (1, 9, 9), (2, 200, 64)]


def regproxy_head(region: tuple[int, int], conv: str, **others: object) -> dict[str, object]:
    return {"head": "regproxy", "region": region, "conv": conv, "tap": 0, **others}


HEADS = {
    "linear": {"head": "linear"},
    "segmenter": {"head": "segmenter"},
    "1x1": regproxy_head((1, 1), "depthwise"),
    "4x4": regproxy_head((4, 4), "normal"),
    "2x8": regproxy_head((2, 8), "none"),
    "levels": regproxy_head((4, 4), "depthwise", multi_level=True),
}
TINY = Backbone(timm_name="vit_tiny_patch16_384", width=64, depth=3, heads=1)
BACKBONES = [
    "vit_tiny_r_s16_p8_384",
    "deit_tiny_distilled_patch16_224",
    "vit_small_patch14_reg4_dinov2",
    "eva02_tiny_patch14_224",
    "beitv2_base_patch16_224",
]
NETWORKS = [pytest.param(TINY, head, id=name) for name, head in HEADS.items()] + [
    pytest.param(Backbone(timm_name=name, width=64, depth=2, heads=2), HEADS["4x4"], id=name)
    for name in BACKBONES
]


@pytest.mark.soak
@pytest.mark.parametrize(("backbone", "head"), NETWORKS)
def test_onnx_labels_the_pixels_as_the_network_does(
    backbone: Backbone, head: dict[str, object], tmp_path: Path
) -> None:
    config = ModelConfig(arch="Toy", backbone=backbone, **head)
    variant = dataclasses.replace(VARIANT, model=config)
    torch.manual_seed(0)
    network = build(variant)
    for name, tensor in network.state_dict().items():
        if "running_mean" in name or "pos_embed" in name:
            tensor.normal_()
        elif "running_var" in name:
            tensor.uniform_(0.5, 2.0)
    model, out = TrainedModel(network, variant), tmp_path / "network.onnx"
    compared = export(model, out, upsample=True)
    assert all(one.equal >= 0.9999 and one.difference < 1e-4 for one in compared)
    if not network.backbone.has_fixed_size:
        exported, run = ExportedNetwork(model, upsample=True, normalised_input=False), onnx_runner(out)
        for shape in SHAPES:
            agreement = compare(exported, run, shape)
            assert agreement.equal >= 0.9999 and agreement.difference < 1e-4, agreement
