"""How the benchmarks measure: methods take turns in one process; times and ratios are medians over rounds.

Methods that take turns run under the same load of the machine, so their ratio is more reliable than their
times. Memory is the peak during calls above what was held before: on the CPU resident memory (Linux), with a
process for each method; on CUDA what torch allocated.
"""

import argparse
import multiprocessing
import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """The command line's options: the device, and a quarter of the rounds (`quick`)."""

    device: str = "cpu"
    quick: bool = False

    @property
    def on_cuda(self) -> bool:
        return torch.device(self.device).type == "cuda"

    def rounds(self, full: int) -> int:
        return max(full // 4, 2) if self.quick else full


@dataclass
class Section:
    """The results of one file: a title, a description of what is measured, and rows with equal keys."""

    title: str
    about: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, **row: Any) -> None:
        """Append a row and print it."""
        self.rows.append(row)
        print("  ".join(f"{key} {shown(value)}" for key, value in row.items()), flush=True)

    def markdown(self) -> str:
        lines = [f"## {self.title}", "", " ".join(self.about.split()), ""]
        if self.rows:
            heads = list(self.rows[0])
            lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
            lines += [
                "| " + " | ".join(shown(row.get(head, "")) for head in heads) + " |" for row in self.rows
            ]
        return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    """Return a value as text; floats with three digits."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def in_turns(
    methods: Mapping[str, Call], rounds: int, settings: Settings, *, unmeasured: int = 2
) -> list[dict[str, float]]:
    """Call all methods in turn and return each round's seconds by method, after some unmeasured rounds."""
    turns = []
    for _ in range(rounds + unmeasured):
        turn = {}
        for name, call in methods.items():
            _synchronise(settings)
            start = time.perf_counter()
            call()
            _synchronise(settings)
            turn[name] = time.perf_counter() - start
        turns.append(turn)
    return turns[unmeasured:]


def milliseconds(turns: list[dict[str, float]], name: str) -> float:
    return median(turn[name] for turn in turns) * 1e3


def ratio(turns: list[dict[str, float]], slow: str, fast: str) -> float:
    """Return how many times faster `fast` is than `slow`, the median over rounds."""
    return median(turn[slow] / turn[fast] for turn in turns)


def peak_megabytes(
    factory: Callable[..., Call], arguments: tuple, settings: Settings, *, threads: int = 2
) -> float:
    """Return the peak memory in MB of two calls of `factory(*arguments)()`, above what is held before."""
    if settings.on_cuda:
        call = factory(*arguments)
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        call(), call()
        return (torch.cuda.max_memory_allocated() - before) / 1e6
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_here, (factory, arguments, threads)) / 1e6


def _peak_here(factory: Callable[..., Call], arguments: tuple, threads: int) -> int:
    torch.set_num_threads(threads)
    square = torch.ones(64, 64, requires_grad=True)
    (square @ square).sum().backward()  # loads libraries and starts threads before the measurement
    call = factory(*arguments)
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _resident("VmRSS")
    call(), call()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _synchronise(settings: Settings) -> None:
    if settings.on_cuda:
        torch.cuda.synchronize()


def machine(settings: Settings) -> dict[str, Any]:
    """Return a description of this machine and software."""
    name = torch.cuda.get_device_name() if settings.on_cuda else _processor()
    return {
        **asdict(settings),
        "device name": name,
        "cores": os.cpu_count(),
        "bf16": "in hardware" if has_bf16(settings) else "emulated",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def has_bf16(settings: Settings) -> bool:
    """Return whether the device has bf16 arithmetic. Other CPUs emulate it, dozens of times slower."""
    flags = {word for line in _processor_lines("flags") for word in line.split()}
    return settings.on_cuda or bool(flags & {"avx512_bf16", "amx_bf16"})


def _processor() -> str:
    return next(iter(_processor_lines("model name")), "unknown")


def _processor_lines(name: str) -> list[str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return [line.split(":")[1].strip() for line in lines if line.startswith(name)]


def settings_of(description: str) -> Settings:
    """Return the settings from the command line's --device and --quick."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds")
    return Settings(**vars(parser.parse_args()))


def main(run: Callable[[Settings], Section], description: str) -> None:
    """Run one file's benchmark and print its table."""
    settings = settings_of(description)
    print(f"{description.strip()}\n\n{machine(settings)}\n")
    print("\n" + run(settings).markdown())
