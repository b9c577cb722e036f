"""A training step compared with the authors' method: `python -m benchmarks.train_step`.

Timed: forward pass, loss, backward pass and optimiser on normalised images of 512 x 512 with 150 classes,
without data loading. `plain`: explicit softmax attention, painting by unfold, logits at full size, AdamW with
many kernels. `float32`: ours in the same precision. `bf16`: ours with autocast; both with torch.compile on
CUDA. MFU: three times the operations of a forward pass (a multiply-add is two) divided by the device's bf16
peak. Shares: the parts of one step of ours. If bf16 is emulated, its row is a single step and says little.
"""

import dataclasses
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor

from benchmarks import reference
from benchmarks.measure import (
    Call,
    Section,
    Settings,
    has_bf16,
    in_turns,
    main,
    milliseconds,
    peak_megabytes,
    ratio,
)
from regproxy.config.profile_file import load_profile
from regproxy.config.variant import Variant
from regproxy.model.build import build
from regproxy.plan.complexity import complexity
from regproxy.train.loss import upsampled_cross_entropy
from regproxy.train.optim import build_optimizer

PEAK_TFLOPS = {"H100": 989.0, "H200": 989.0, "A100": 312.0}  # bf16, dense; NVIDIA's data sheets
SIZE = 512


def paper_variant(name: str) -> Variant:
    """Return a variant of the paper's supplement on ADE20K."""
    (variant,) = (
        variant
        for variant in load_profile("paper").variants
        if (variant.data.name, variant.name) == ("ade20k", name)
    )
    return variant


def train_step(method: str, name: str, batch: int, device: str, size: int = SIZE) -> Call:
    """Return a call that trains the variant `name` for one step; `method` is plain, float32 or bf16."""
    torch.manual_seed(0)
    variant = paper_variant(name)
    variant = dataclasses.replace(variant, recipe=dataclasses.replace(variant.recipe, crop=(size, size)))
    network = build(variant).to(device).train()
    model, optimizer, loss = network, build_optimizer(network, variant.recipe), upsampled_cross_entropy
    if method == "plain":
        model, loss = reference.PlainRegProxy(network), reference.cross_entropy
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-6)
    elif device.startswith("cuda"):
        model = torch.compile(network)
    images = torch.randn(batch, 3, size, size, device=device)
    labels = torch.randint(0, variant.data.num_classes, (batch, size, size), dtype=torch.uint8).to(device)

    def call() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=method == "bf16"):
            logits = model(images)
        loss(logits, labels).backward()
        optimizer.step()

    return call


def shares(name: str, batch: int, settings: Settings) -> str:
    """Return the parts of one step of ours in percent of its time: float32, on CUDA bf16."""
    torch.manual_seed(0)
    variant = paper_variant(name)
    network = build(variant).to(settings.device).train()
    optimizer = build_optimizer(network, variant.recipe)
    images = torch.randn(batch, 3, SIZE, SIZE, device=settings.device)
    labels = torch.randint(0, 150, (batch, SIZE, SIZE), dtype=torch.uint8).to(settings.device)
    rounds = []
    for _ in range(settings.rounds(8)):
        seconds: dict[str, float] = {}
        with torch.autocast(torch.device(settings.device).type, torch.bfloat16, enabled=settings.on_cuda):
            logits = _timed(seconds, "forward", lambda: network(images), settings)
        loss = _timed(
            seconds, "loss", lambda logits=logits: upsampled_cross_entropy(logits, labels), settings
        )
        _timed(seconds, "backward", loss.backward, settings)
        _timed(seconds, "optimiser", optimizer.step, settings)
        optimizer.zero_grad(set_to_none=True)
        rounds.append({part: own / sum(seconds.values()) for part, own in seconds.items()})
    return ", ".join(f"{part} {median(turn[part] for turn in rounds):.0%}" for part in rounds[0])


def _timed(
    seconds: dict[str, float], name: str, call: Callable[[], Tensor | None], settings: Settings
) -> Tensor | None:
    """Return the result of `call` and note its seconds under `name`."""
    start = time.perf_counter()
    value = call()
    if settings.on_cuda:
        torch.cuda.synchronize()
    seconds[name] = time.perf_counter() - start
    return value


def flops_share(name: str, images_per_second: float) -> float | str:
    """Return the share of the device's peak (MFU), or a dash if the peak is unknown."""
    peak = next(
        (tflops for kind, tflops in PEAK_TFLOPS.items() if kind in torch.cuda.get_device_name()), None
    )
    if peak is None:
        return "-"
    return images_per_second * 3 * 2 * complexity(paper_variant(name))["gmacs"] / (1e3 * peak)


def run(settings: Settings) -> Section:
    section = Section("Training step", __doc__)
    torch.set_num_threads(2)
    batch = 16 if settings.on_cuda else 2
    for name, label in (("ti-4x4", "Ti/16 4x4"), ("s-4x4", "S/16 4x4")):
        methods = ("plain", "float32", "bf16")
        calls = {method: train_step(method, name, batch, settings.device) for method in methods}
        emulated = {} if has_bf16(settings) else {"bf16": calls.pop("bf16")}
        turns = in_turns(calls, settings.rounds(8), settings)
        if emulated:
            (once,) = in_turns(emulated, 1, settings, unmeasured=0)
            turns = [turn | once for turn in turns]
        calls.clear(), emulated.clear()
        memory = {
            method: peak_megabytes(train_step, (method, name, batch, settings.device), settings)
            for method in methods
        }
        part = shares(name, batch, settings)
        for method in methods:
            speed = batch / median(turn[method] for turn in turns)
            section.add(
                **{
                    "network": label,
                    "batch": batch,
                    "method": method,
                    "ms": milliseconds(turns, method),
                    "images/s": speed,
                    "faster than plain": ratio(turns, "plain", method),
                    "MB": memory[method],
                    "memory": memory[method] / memory["plain"],
                    "MFU": flops_share(name, speed) if settings.on_cuda else "-",
                    "shares": part if method == ("bf16" if settings.on_cuda else "float32") else "",
                }
            )
    return section


if __name__ == "__main__":
    main(run, __doc__)
