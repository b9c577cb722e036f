"""Stage `prepare`: check every image and label of a profile's data sets and pack them into shards.

python -m pipelines.prepare <profile> [--allow-partial]
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.stage import profile_stage
from regproxy.cli.progress_bar import progress_bar
from regproxy.config.profile_file import load_profile
from regproxy.data.prepare import prepare


def prepare_profile(profile_name: str, *, allow_partial: bool = False) -> int:
    """Prepare every data set of the profile in data/prepared/<profile>/<data set>.

    `allow_partial` accepts any number of images of ADE20K and Cityscapes, like the key in a profile.
    """
    for entry in load_profile(profile_name).datasets:
        data = dataclasses.replace(entry, allow_partial=entry.allow_partial or allow_partial)
        out = Path("data/prepared") / profile_name / data.name
        started = time.monotonic()
        with progress_bar(data.name, "pairs") as progress:
            manifest = prepare(data, out, progress=progress, note=print)
        seconds = time.monotonic() - started
        pairs = manifest["num_images"]
        print(f"{data.name}: {pairs} pairs in {seconds:.1f} s, {pairs / seconds:.0f} pairs/s -> {out}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    flags = {"allow_partial": "accept another number of images than the official one"}
    return profile_stage(prepare_profile, __doc__, arguments, flags=flags)


if __name__ == "__main__":
    raise SystemExit(main())
