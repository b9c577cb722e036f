"""Measure how cost grows with loader processes and with pixels: `python -m benchmarks.scaling`.

Loader: batches of eight crops from shards of 683 x 512 pairs, with nothing else running. Training: one step
of Ti/16 4x4, 150 classes, float32 on CPU and bf16 on CUDA, for several numbers of pixels a batch. The plot
`benchmarks/scaling.png` shows the steps and a straight line through the smallest and the largest.
"""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from statistics import median

import torch

from benchmarks.measure import Section, Settings, in_turns, main, milliseconds
from benchmarks.scenes import HEIGHT, WIDTH, encoded_pairs, prepared
from benchmarks.train_step import train_step
from regproxy.config.recipe import Recipe
from regproxy.data.loader import micro_batches
from regproxy.data.shards import Record, Shards, ShardWriter, write_manifest

CLASSES = tuple(f"class {index}" for index in range(10))
PLOT = Path("benchmarks/scaling.png")


def scene_shards(directory: Path, count: int = 32) -> Shards:
    """Write shards of generated scenes and open the training split."""
    splits = {}
    for split in ("train", "val"):
        with closing(ShardWriter(directory, split=split, classes=CLASSES)) as writer:
            for index, pair in enumerate(encoded_pairs(count if split == "train" else 1)):
                writer.write(Record(f"{index}", *prepared(pair), HEIGHT, WIDTH))
            splits[split] = writer.finish()
    write_manifest(directory, classes=CLASSES, splits=splits)
    return Shards(directory, "train")


def loader_speed(shards: Shards, workers: int, batches: int) -> float:
    """Return crops per second, without the time in which processes start or end."""
    warm_up = 12  # batches until all processes have started and prefetched batches are used up
    recipe = Recipe(
        steps=batches + 2 * warm_up, batch_size=8, crop=(512, 512), scale=(2048, 512), loader_workers=workers
    )
    stream = micro_batches(shards, recipe, 0)
    for _ in range(warm_up):
        next(stream)
    start = time.perf_counter()
    count = sum(len(next(stream).labels) for _ in range(batches))
    return count / (time.perf_counter() - start)


def run(settings: Settings) -> Section:
    section = Section("Scaling", __doc__)
    with tempfile.TemporaryDirectory() as folder:
        shards = scene_shards(Path(folder))
        batches = 24 if settings.quick else 60
        rounds = [{n: loader_speed(shards, n, batches) for n in (1, 2)} for _ in range(settings.rounds(4))]
    for workers in (1, 2):
        section.add(
            **{
                "what": f"{workers} loader process{'es' if workers > 1 else ''}",
                "megapixels": "",
                "ms": "",
                "per second": f"{median(turn[workers] for turn in rounds):.0f} crops",
                "against the first": median(turn[workers] / turn[1] for turn in rounds),
            }
        )
    torch.set_num_threads(2)
    way = "bf16" if settings.on_cuda else "float32"
    shapes = (
        ((4, 512), (8, 512), (16, 512), (16, 768))
        if settings.on_cuda
        else ((1, 256), (4, 256), (1, 512), (2, 512))
    )
    points = []
    for batch, size in shapes:
        call = train_step(way, "ti-4x4", batch, settings.device, size)
        taken = milliseconds(in_turns({"ours": call}, settings.rounds(6), settings), "ours")
        points.append((batch * size * size / 1e6, taken))
        pixels_ratio, time_ratio = (points[-1][axis] / points[0][axis] for axis in (0, 1))
        section.add(
            **{
                "what": f"step of {batch} crops of {size}²",
                "megapixels": points[-1][0],
                "ms": taken,
                "per second": f"{1e3 * batch / taken:.3g} images",
                "against the first": f"{time_ratio:.3g}x the time of {pixels_ratio:.3g}x the pixels",
            }
        )
    draw(points)
    return section


def draw(points: list[tuple[float, float]]) -> None:
    """Plot milliseconds a step against megapixels a batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.add_subplot()
    points = sorted(points)
    axes.plot(*zip(points[0], points[-1], strict=True), color="0.7", label="straight line")
    axes.plot(*zip(*points, strict=True), "o", label="measured")
    axes.set(xlabel="megapixels a step", ylabel="milliseconds a step", xlim=(0, None), ylim=(0, None))
    axes.legend()
    figure.savefig(PLOT, dpi=120)


if __name__ == "__main__":
    main(run, __doc__)
