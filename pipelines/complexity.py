"""Stage `complexity`: count parameters and operations of every variant's network at the paper's sizes.

python -m pipelines.complexity <profile>
"""

from collections.abc import Sequence
from pathlib import Path

from pipelines.stage import profile_stage
from regproxy.config.profile_file import load_profile
from regproxy.plan.complexity import IMAGE_SIZE, NUM_CLASSES, complexity
from regproxy.runs.record import RECORD_FORMAT
from regproxy.storage.json_file import write_json


def count_complexity(profile_name: str) -> int:
    """Write complexity/<profile>.json. A variant is counted once, on its first data set."""
    variants = {}
    for variant in load_profile(profile_name).variants:
        if variant.name not in variants:
            variants[variant.name] = complexity(variant)
    path = Path("complexity") / f"{profile_name}.json"
    sizes = {"image_size": list(IMAGE_SIZE), "num_classes": NUM_CLASSES}
    write_json(path, {"format": RECORD_FORMAT, "profile": profile_name, **sizes, "variants": variants})
    print(f"{len(variants)} networks counted -> {path}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(count_complexity, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
