"""Synchronised batch norm on the CPU: two processes against one process with the whole batch."""

import copy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from regproxy.train.sync_batch_norm import ProcessGroupBatchNorm2d, synchronise_batch_norm

SPLIT = (3, 2)  # samples of each worker; unequal, because then weights matter
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}


def network() -> nn.Module:
    torch.manual_seed(0)
    norm = nn.BatchNorm2d(4)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return nn.Sequential(nn.Conv2d(3, 4, 1, bias=False), norm, nn.ReLU())


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(sum(SPLIT), 3, 5, 6, generator=generator) * 2 + 1
    return images, torch.randn(sum(SPLIT), 4, 5, 6, generator=generator)


def step(model: nn.Module, images: Tensor, upstream: Tensor) -> dict[str, Tensor]:
    """Make a forward and a backward pass; return outputs, gradients, parameters and statistics."""
    images = images.clone().requires_grad_()
    outputs = model(images)
    outputs.backward(upstream)
    gradients = {f"gradient of {name}": parameter.grad for name, parameter in model.named_parameters()}
    return {"outputs": outputs.detach(), "images": images.grad, **gradients, **model.state_dict()}


def worker(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=len(SPLIT)
    )
    results = {}
    for dtype in TOLERANCE:
        model = synchronise_batch_norm(network().to(dtype), "cpu")
        images, upstream = (values.to(dtype).split(SPLIT)[rank] for values in batch())
        results[dtype] = step(model, images, upstream)
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_workers_equal_the_whole_batch(tmp_path: Path) -> None:
    mp.spawn(worker, (str(tmp_path),), nprocs=len(SPLIT))
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(len(SPLIT))]
    for dtype, tolerance in TOLERANCE.items():
        whole = step(network().to(dtype), *(values.to(dtype) for values in batch()))
        for name, expected in whole.items():
            parts = [result[dtype][name] for result in results]
            if name in ("outputs", "images"):
                parts = [torch.cat(parts)]
            elif name.startswith("gradient"):
                parts = [sum(parts)]
            size = max(expected.abs().max().item(), 1.0)
            for part in parts:
                torch.testing.assert_close(part, expected, rtol=tolerance, atol=tolerance * size)


@pytest.mark.parametrize("training", [True, False])
def test_a_single_worker_gets_batch_norm(training: bool) -> None:
    plain = network().train(training)
    model = synchronise_batch_norm(copy.deepcopy(plain), "cpu")
    assert isinstance(model[1], ProcessGroupBatchNorm2d) and model[1].training == training
    ours, expected = step(model, *batch()), step(plain, *batch())
    assert all(torch.equal(ours[name], expected[name]) for name in expected)


def test_parameters_and_names_do_not_change() -> None:
    model = network()
    names, parameters = list(model.state_dict()), list(model.parameters())
    synchronised = synchronise_batch_norm(model, "cpu")
    assert list(synchronised.state_dict()) == names
    assert all(a is b for a, b in zip(synchronised.parameters(), parameters, strict=True))


def test_gpus_get_torchs_own() -> None:
    assert isinstance(synchronise_batch_norm(network(), "cuda")[1], nn.SyncBatchNorm)
