"""Speed and memory of the loss beside plain interpolate and cross_entropy: `python -m benchmarks.loss`.

Timed: forward and backward, from low-resolution logits to their gradient; no network, no data. The two take
turns in one process, so that both meet the same machine; times and the speed-up are medians over rounds.
Memory: the highest use during one call beyond what was held before it, the gradient included. On CPU this is
resident memory (Linux), each variant in a process of its own; on CUDA what torch allocated.
"""

import argparse
import json
import multiprocessing
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from regproxy.train.loss import upsampled_cross_entropy


@dataclass(frozen=True)
class Case:
    batch: int
    classes: int
    grid: int  # side of the logits
    size: int  # side of the labels
    threads: int  # on CPU
    rounds: int
    dtype: str = "float32"


CASES = [
    Case(batch=2, classes=150, grid=128, size=512, threads=2, rounds=9),
    Case(batch=2, classes=150, grid=128, size=512, threads=1, rounds=5),
    Case(batch=8, classes=8, grid=32, size=128, threads=1, rounds=50),
    Case(batch=8, classes=8, grid=8, size=128, threads=1, rounds=50),
    Case(batch=8, classes=8, grid=128, size=128, threads=1, rounds=50),
]


def plain(logits: Tensor, labels: Tensor) -> Tensor:
    upsampled = functional.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    total = functional.cross_entropy(upsampled.float(), labels.long(), ignore_index=255, reduction="sum")
    return total / labels.numel()


VARIANTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"plain": plain, "ours": upsampled_cross_entropy}


def sample(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """Returns logits (B, K, h, w) and labels (B, H, W), a tenth of them void."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(case.batch, case.classes, case.grid, case.grid, generator=generator) * 3
    labels = torch.randint(0, case.classes, (case.batch, case.size, case.size), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.1] = 255
    logits = logits.to(device, getattr(torch, case.dtype)).requires_grad_()
    return logits, labels.to(torch.uint8).to(device)


def step(variant: str, logits: Tensor, labels: Tensor) -> float:
    """Runs forward and backward; returns the seconds they took."""
    logits.grad = None
    _synchronise(logits.device)
    start = time.perf_counter()
    VARIANTS[variant](logits, labels).backward()
    _synchronise(logits.device)
    return time.perf_counter() - start


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(case: Case, device: str) -> dict[str, Any]:
    """Returns the case, medians in milliseconds, peaks of extra memory in MB, and ours against plain."""
    torch.set_num_threads(case.threads)
    logits, labels = sample(case, device)
    rounds = [{name: step(name, logits, labels) for name in VARIANTS} for _ in range(case.rounds + 2)][2:]
    peak = peak_on_cuda if logits.is_cuda else peak_on_cpu
    memory = {name: peak(case, device, name) for name in VARIANTS}
    return {
        **asdict(case),
        **{f"{name}_ms": median(turn[name] for turn in rounds) * 1e3 for name in VARIANTS},
        "speedup": median(turn["plain"] / turn["ours"] for turn in rounds),
        **{f"{name}_mb": memory[name] / 1e6 for name in VARIANTS},
        "memory_share": memory["ours"] / memory["plain"],
    }


def peak_on_cuda(case: Case, device: str, variant: str) -> int:
    logits, labels = sample(case, device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    step(variant, logits, labels)
    return torch.cuda.max_memory_allocated(device) - before


def peak_on_cpu(case: Case, device: str, variant: str) -> int:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_of_this_process, (case, device, variant))


def _peak_of_this_process(case: Case, device: str, variant: str) -> int:
    torch.set_num_threads(case.threads)
    tiny = Case(batch=1, classes=2, grid=4, size=8, threads=case.threads, rounds=1)
    step(variant, *sample(tiny, device))  # libraries and threads are there before the count starts
    logits, labels = sample(case, device)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far is forgotten
    before = _resident("VmRSS")
    step(variant, logits, labels)
    return _resident("VmHWM") - before


def _resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the numbers here too")
    arguments = parser.parse_args()
    on_cuda = torch.device(arguments.device).type == "cuda"
    name = torch.cuda.get_device_name(arguments.device) if on_cuda else platform.machine()
    print(f"{__doc__}\n{arguments.device} ({name}), torch {torch.__version__}\n")
    print(
        "dtype    threads  B    K   grid     labels   plain ms    ours ms faster   plain MB    ours MB share"
    )
    cases = []
    # Threads of the processor mean nothing to a device: one row a shape there.
    for case in {(c.batch, c.classes, c.grid, c.size): c for c in CASES}.values() if on_cuda else CASES:
        row = measure(case, arguments.device)
        cases.append(row)
        print(
            f"{case.dtype}  {case.threads:7} {case.batch:2} {case.classes:4}   {case.grid:3}² {case.size:8}² "
            f"{row['plain_ms']:10.1f} {row['ours_ms']:10.1f} {row['speedup']:6.2f}x "
            f"{row['plain_mb']:10.1f} {row['ours_mb']:10.1f} {row['memory_share']:6.0%}",
            flush=True,
        )
    if arguments.json:
        record = {"device": arguments.device, "device_name": name, "torch": torch.__version__, "cases": cases}
        arguments.json.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
