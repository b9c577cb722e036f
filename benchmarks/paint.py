"""Painting compared with unfold and multiply: `python -m benchmarks.paint`.

Timed: forward and backward pass, from affinity and token logits to the gradients of both, for regions of
4 x 4 and 16 x 16 on a 512 x 512 crop with tokens of 16 pixels.
"""

import torch

from benchmarks import reference
from benchmarks.measure import Call, Section, Settings, in_turns, main, milliseconds, peak_megabytes, ratio
from regproxy.model.affinity import paint

PAINTERS = {"plain": reference.paint, "ours": paint}


def paint_step(name: str, batch: int, classes: int, region: int, device: str) -> Call:
    """Return a call of one forward and backward pass. The affinity has the memory layout of the head."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(batch, 32, 32, 9, region, region, generator=generator).to(device)
    affinity = scores.softmax(dim=3).permute(0, 3, 4, 5, 1, 2).requires_grad_()
    token_logits = torch.randn(batch, classes, 32, 32, generator=generator).to(device).requires_grad_()
    gradient = torch.randn(batch, classes, 32 * region, 32 * region, generator=generator).to(device)

    def call() -> None:
        affinity.grad = token_logits.grad = None
        PAINTERS[name](affinity, token_logits).backward(gradient)

    return call


def run(settings: Settings) -> Section:
    section = Section("Painting", __doc__)
    torch.set_num_threads(2)
    batch = 16 if settings.on_cuda else 2
    for classes, region in ((150, 4), (19, 4), (19, 16)):
        shape = (batch, classes, region, settings.device)
        calls = {name: paint_step(name, *shape) for name in PAINTERS}
        turns = in_turns(calls, settings.rounds(9), settings)
        calls.clear()
        memory = {name: peak_megabytes(paint_step, (name, *shape), settings) for name in PAINTERS}
        section.add(
            **{
                "batch": batch,
                "classes": classes,
                "region": f"{region}x{region}",
                "dtype": "float32",
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
