"""Stage `demo_data`: draw the scenes of a profile that has no real data.

python -m pipelines.demo_data <profile>
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.stage import profile_stage
from regproxy.config.dataset import root_folder
from regproxy.config.profile_file import load_profile
from regproxy.demo.layouts import write_demo


def demo_data(profile_name: str) -> int:
    """Write each data set with a root below data/demo/<profile>, in the layout of its format."""
    profile = load_profile(profile_name)
    folder = Path("data/demo") / profile_name
    folder.mkdir(parents=True, exist_ok=True)  # DVC expects the output, even if it is empty
    generated = [
        data
        for data in profile.datasets
        if root_folder(data.root).absolute().is_relative_to(folder.absolute())
    ]
    if profile.demo is None or not generated:
        note = f"Profile {profile_name} uses its own data, so no scenes were drawn."
        (folder / "README").write_text(note + "\n")  # DVC warns about an output without files
        print(note)
        return 0
    for data in generated:
        started = time.monotonic()
        write_demo(root_folder(data.root), format=data.format, **dataclasses.asdict(profile.demo))
        count = profile.demo.num_train + profile.demo.num_val
        print(f"{data.name}: {count} scenes in {time.monotonic() - started:.1f} s -> {data.root}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    return profile_stage(demo_data, __doc__, arguments)


if __name__ == "__main__":
    raise SystemExit(main())
