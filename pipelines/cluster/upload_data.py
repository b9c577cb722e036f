"""Prepare the data sets of the profiles in params.yaml here and upload them to REGPROXY_STORAGE.

python -m pipelines.cluster.upload_data

On a machine without the raw data, stage `prepare` then downloads them from there.
"""

import subprocess
import sys
from pathlib import Path

from pipelines.check import check_params
from regproxy.config.profile_file import load_profile
from regproxy.errors import ConfigError, UserError
from regproxy.runs.shared_storage import SharedStorage


def upload_data() -> int:
    """Run stage `prepare` of every profile with DVC and upload its data sets; return the exit status.

    Raises:
        ConfigError: no storage is set, or params.yaml or a profile is invalid.
        StorageError: the storage cannot be reached.
    """
    profiles, shared = check_params(), SharedStorage.from_environment()
    if shared is None:
        raise ConfigError("REGPROXY_STORAGE is not set: give a URL such as s3://bucket/folder")
    command = [sys.executable, "-m", "dvc", "repro", *(f"prepare@{profile}" for profile in profiles)]
    if status := subprocess.run(command).returncode:
        return status
    for profile in profiles:
        for data in load_profile(profile).datasets:
            url = shared.upload_data(profile, data, Path("data/prepared") / profile / data.name)
            print(f"{data.name} of profile {profile} is at {url}")
    return 0


def main() -> int:
    try:
        return upload_data()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
