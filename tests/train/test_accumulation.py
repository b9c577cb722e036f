"""Gradient accumulation: several micro-batches give the gradients of the whole batch."""

from collections.abc import Callable

import torch

from regproxy.data.loader import Batch
from regproxy.model.build import build
from regproxy.runs.trial import Trial
from regproxy.train.context import Context
from regproxy.train.optim import build_optimizer
from regproxy.train.step import update


def test_accumulated_gradients_are_those_of_the_whole_batch(make_trial: Callable[..., Trial]) -> None:
    """Pixel loss and region loss are means over all images, in one micro-batch of four or two of two."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 64, 64, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 8, (4, 64, 64), generator=generator, dtype=torch.uint8)
    labels[0, :40] = 255
    results = []
    for num in (1, 2):
        trial = make_trial(
            conv="none",  # batch norm would see other batches
            drop_path=0.0,
            region_loss="homogeneity",
            region_loss_weight=10.0,
            grad_accum_steps=num,
        )
        torch.manual_seed(0)
        model = build(trial.variant).train()
        batches = [Batch(*parts, None) for parts in zip(images.chunk(num), labels.chunk(num), strict=True)]
        optimizer = build_optimizer(model, trial.variant.recipe)
        loss = update(model, optimizer, iter(batches), 0.0, trial, 0, Context())
        results.append([loss, *(parameter.grad for parameter in model.parameters())])
    assert results[0][0] > 1  # the region loss dominates
    for whole, accumulated in zip(*results, strict=True):
        torch.testing.assert_close(accumulated, whole, rtol=1e-4, atol=1e-6)
