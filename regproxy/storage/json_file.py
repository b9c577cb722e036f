"""JSON files that are complete or absent."""

import json
from pathlib import Path
from typing import Any

from regproxy.storage.atomic import atomic_file


def write_json(path: Path, content: dict[str, Any], *, indent: int = 1) -> None:
    """Write a JSON file with `atomic_file`; raise ValueError for NaN or infinity, which JSON cannot hold."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=indent, allow_nan=False) + "\n")
