"""Stage `complexity`: counts parameters and operations of every cell's network at the paper's sizes.

python -m pipelines.complexity <profile>
"""

from collections.abc import Sequence
from pathlib import Path

from pipelines.entry import profile_stage
from regproxy.complexity import IMAGE_SIZE, NUM_CLASSES, complexity
from regproxy.profile_file import load_profile
from regproxy.train.trial import RECORD_FORMAT, write_json


def count(profile_name: str) -> int:
    """Writes complexity/<profile>.json; a cell is counted once, as it is on its first data set."""
    cells = {}
    for cell in load_profile(profile_name).cells:
        if cell.name not in cells:
            cells[cell.name] = complexity(cell)
    path = Path("complexity") / f"{profile_name}.json"
    sizes = {"image_size": list(IMAGE_SIZE), "num_classes": NUM_CLASSES}
    write_json(path, {"format": RECORD_FORMAT, "profile": profile_name, **sizes, "cells": cells})
    print(f"{len(cells)} networks counted -> {path}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(count, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
