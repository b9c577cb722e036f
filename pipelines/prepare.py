"""Stage `prepare`: check every image and label of a profile's data sets and pack them into shards.

python -m pipelines.prepare <profile> [--allow-partial]

On a machine without the raw data, such as a cluster, it downloads what `make upload-data` has prepared on
another machine.
"""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pipelines.stage import profile_stage
from regproxy.cli.progress_bar import progress_bar
from regproxy.config.dataset import DataConfig
from regproxy.config.profile_file import load_profile
from regproxy.data.prepare import prepare
from regproxy.errors import DataError
from regproxy.runs.shared_storage import SharedStorage
from regproxy.runs.stored_data import download_prepared
from regproxy.storage.remote import Storage


def prepare_profile(profile_name: str, *, allow_partial: bool = False) -> int:
    """Prepare every data set of the profile in data/prepared/<profile>/<data set>.

    `allow_partial` accepts any number of images of ADE20K and Cityscapes, like the key in a profile.
    """
    shared = SharedStorage.from_environment()
    for entry in load_profile(profile_name).datasets:
        data = dataclasses.replace(entry, allow_partial=entry.allow_partial or allow_partial)
        out = Path("data/prepared") / profile_name / data.name
        if shared is not None and not Path(data.root).is_dir():
            download(shared.storage, profile_name, data, out)
            continue
        started = time.monotonic()
        with progress_bar(data.name, "pairs") as progress:
            manifest = prepare(data, out, progress=progress, note=print)
        seconds = time.monotonic() - started
        pairs = manifest["num_images"]
        print(f"{data.name}: {pairs} pairs in {seconds:.1f} s, {pairs / seconds:.0f} pairs/s -> {out}")
        for warning in manifest["warnings"]:
            print(f"warning: {data.name}: {warning}", file=sys.stderr)
    return 0


def download(storage: Storage, profile_name: str, data: DataConfig, out: Path) -> None:
    """Download a prepared data set whose raw data is not here; raise DataError if the storage has none."""
    with progress_bar(data.name, "shards") as progress:
        url = download_prepared(storage, profile_name, data, out, progress)
    if url is None:
        raise DataError(
            f"data set {data.name}: root {data.root} is missing, and {storage.url} has no prepared "
            f"data of it with these settings. Run `make upload-data` on the machine that has the root."
        )
    print(f"{data.name}: root {data.root} is missing here; prepared data downloaded from {url} -> {out}")


def main(arguments: Sequence[str] | None = None) -> int:
    flags = {"allow_partial": "accept another number of images than the official one"}
    return profile_stage(prepare_profile, __doc__, arguments, flags=flags)


if __name__ == "__main__":
    raise SystemExit(main())
