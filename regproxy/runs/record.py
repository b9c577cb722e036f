"""Run records and result records: JSON objects with the fingerprint of what they belong to."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

RECORD_FORMAT = 1
_PACKAGES = {  # name in the record -> name of the distribution; all of them can move a number
    "torch": "torch",
    "timm": "timm",
    "numpy": "numpy",
    "opencv": "opencv-python-headless",
    "regproxy": "regproxy",
}


def read_record(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if the file is missing or damaged."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return record if isinstance(record, dict) else None


def software_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can move a number, by name."""
    packages = {name: version(distribution) for name, distribution in _PACKAGES.items()}
    return {"python": platform.python_version(), **packages}


def git_commit() -> str | None:
    """Return the commit of the working tree, with -dirty if it has changes.

    Outside of git, as on a cluster, it is the value of REGPROXY_GIT_COMMIT, which `make job` sets; None if
    that is not set either.
    """
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("REGPROXY_GIT_COMMIT") or None


def original_fingerprint(record: dict[str, Any]) -> str:
    """Return the fingerprint that a run or result had when it was made, before any `--accept-source`."""
    accepted = record.get("accepted_sources")
    return accepted[0]["fingerprint"] if accepted else record["fingerprint"]
