"""The loss compared with plain interpolate and cross_entropy: `python -m benchmarks.loss`.

Timed: forward and backward pass, from low-resolution logits to their gradient, without network and data.
"""

from dataclasses import dataclass

import torch

from benchmarks import reference
from benchmarks.measure import Call, Section, Settings, in_turns, main, milliseconds, peak_megabytes, ratio
from regproxy.train.loss import upsampled_cross_entropy

LOSSES = {"plain": reference.cross_entropy, "ours": upsampled_cross_entropy}


@dataclass(frozen=True)
class Case:
    """Sizes of one measurement."""

    batch: int
    classes: int
    grid: int  # side of the logits
    size: int  # side of the labels
    threads: int  # on CPU
    rounds: int
    dtype: str = "float32"


CASES = [
    Case(batch=2, classes=150, grid=128, size=512, threads=2, rounds=31),
    Case(batch=2, classes=150, grid=128, size=512, threads=1, rounds=5),
    Case(batch=2, classes=19, grid=192, size=768, threads=2, rounds=9),
    Case(batch=8, classes=8, grid=32, size=128, threads=1, rounds=50),
]
CUDA_CASES = [
    Case(batch=16, classes=150, grid=128, size=512, threads=1, rounds=20),
    Case(batch=16, classes=150, grid=128, size=512, threads=1, rounds=20, dtype="bfloat16"),
    Case(batch=8, classes=19, grid=192, size=768, threads=1, rounds=20, dtype="bfloat16"),
]


def loss_step(name: str, case: Case, device: str) -> Call:
    """Return a call that computes loss and gradient once. A tenth of the labels are void."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(case.batch, case.classes, case.grid, case.grid, generator=generator) * 3
    labels = torch.randint(0, case.classes, (case.batch, case.size, case.size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    logits = logits.to(device, getattr(torch, case.dtype)).requires_grad_()
    labels = labels.to(torch.uint8).to(device)

    def call() -> None:
        logits.grad = None
        LOSSES[name](logits, labels).backward()

    return call


def run(settings: Settings) -> Section:
    section = Section("Loss", __doc__)
    for case in CUDA_CASES if settings.on_cuda else CASES:
        torch.set_num_threads(case.threads)
        calls = {name: loss_step(name, case, settings.device) for name in LOSSES}
        turns = in_turns(calls, settings.rounds(case.rounds), settings)
        calls.clear()
        memory = {
            name: peak_megabytes(loss_step, (name, case, settings.device), settings, threads=case.threads)
            for name in LOSSES
        }
        section.add(
            **{
                "batch": case.batch,
                "classes": case.classes,
                "logits": f"{case.grid}²",
                "labels": f"{case.size}²",
                "dtype": case.dtype,
                "threads": case.threads,
                "plain ms": milliseconds(turns, "plain"),
                "ours ms": milliseconds(turns, "ours"),
                "faster": ratio(turns, "plain", "ours"),
                "plain MB": memory["plain"],
                "ours MB": memory["ours"],
                "memory": memory["ours"] / memory["plain"],
            }
        )
    return section


if __name__ == "__main__":
    main(run, __doc__)
