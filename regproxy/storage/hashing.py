"""Checksums of files."""

import hashlib
from pathlib import Path


def file_sha256(file: Path) -> str:
    """Return the SHA-256 of a local file's content, in hexadecimal."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
