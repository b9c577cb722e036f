"""Compare the speed of data preparation with Pillow and NumPy: `python -m benchmarks.prepare`.

One process converts pairs of 683 x 512 (JPEG, PNG) to an Arrow shard. It decodes every image to check it,
maps every label to train ids and encodes it again. Plain decodes and encodes with Pillow and maps with NumPy.
"""

import io
import tempfile
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.measure import Section, Settings, in_turns, main, milliseconds, ratio
from benchmarks.scenes import encoded_pairs
from regproxy.config.dataset import DataConfig
from regproxy.data.prepare import prepare
from regproxy.data.shards import Record, ShardWriter, write_manifest

PAIRS = 48
CLASSES = tuple(f"class {index}" for index in range(9))  # those that occur in the scenes


def plain(root: Path, out: Path) -> None:
    """Convert both splits of a folder data set without checking the files."""
    out.mkdir(exist_ok=True)
    table = np.arange(256)
    splits = {}
    for split in ("train", "val"):
        with closing(ShardWriter(out, split=split, classes=CLASSES)) as writer:
            for path in sorted((root / "images" / split).iterdir()):
                data = path.read_bytes()
                np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
                label = np.asarray(Image.open(root / "annotations" / split / f"{path.stem}.png"))
                label = table[label].astype(np.uint8)
                encoded = io.BytesIO()
                Image.fromarray(label).save(encoded, "PNG")
                writer.write(Record(path.stem, data, encoded.getvalue(), *label.shape))
            splits[split] = writer.finish()
    write_manifest(out, classes=CLASSES, splits=splits)


def run(settings: Settings) -> Section:
    section = Section("Preparation", __doc__)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for index, (jpeg, png) in enumerate(encoded_pairs(PAIRS)):
            split = "val" if index % 8 == 0 else "train"
            for kind, suffix, data in (("images", "jpg", jpeg), ("annotations", "png", png)):
                file = root / "raw" / kind / split / f"{index:04d}.{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(data)
        data = DataConfig(name="scenes", format="folder", root=str(root / "raw"), classes=CLASSES)
        calls = {
            "plain": lambda: plain(root / "raw", root / "plain"),
            "ours": lambda: prepare(data, root / "ours", workers=1),
        }
        turns = in_turns(calls, settings.rounds(8), settings)
    section.add(
        **{
            "plain pairs/s": PAIRS * 1e3 / milliseconds(turns, "plain"),
            "ours pairs/s": PAIRS * 1e3 / milliseconds(turns, "ours"),
            "faster": ratio(turns, "plain", "ours"),
        }
    )
    return section


if __name__ == "__main__":
    main(run, __doc__)
