"""torch.compile captures network and loss as one graph without a break, and gives the same numbers."""

import dataclasses

import pytest
import torch

from regproxy.config.profile_file import load_profile
from regproxy.model.build import build
from regproxy.train.loss import upsampled_cross_entropy

VARIANTS = {variant.name: variant for variant in load_profile("demo").variants}


@pytest.mark.parametrize("name", ["linear", "4x4", "segmenter", "multi-level"])
def test_forward_loss_and_backward_are_one_graph(name: str) -> None:
    variant = VARIANTS[name]
    variant = dataclasses.replace(variant, model=dataclasses.replace(variant.model, drop_path=0.0))
    torch.manual_seed(0)
    model = build(variant).train()
    images = torch.randn(2, 3, 64, 64)
    labels = torch.randint(0, variant.data.num_classes, (2, 64, 64), dtype=torch.uint8)

    def loss() -> torch.Tensor:
        return upsampled_cross_entropy(model(images), labels)

    def gradients(value: torch.Tensor) -> list[torch.Tensor]:
        return torch.autograd.grad(value, list(model.parameters()), allow_unused=True, materialize_grads=True)

    torch._dynamo.reset()
    value = torch.compile(loss, fullgraph=True, backend="aot_eager")()
    plain = loss()
    assert value.item() == pytest.approx(plain.item(), rel=1e-5)
    for one, two in zip(gradients(value), gradients(plain), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
