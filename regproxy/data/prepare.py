"""Convert raw folders to shards: scan every file, then store it with the statistics of the classes."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from regproxy.config.dataset import DataConfig
from regproxy.data.scan import Scan, scan
from regproxy.data.shards import MANIFEST, Record, ShardWriter, write_manifest
from regproxy.errors import DataError
from regproxy.storage.atomic import atomic_folder

_SHOWN_PROBLEMS = 10


def prepare(
    data: DataConfig,
    out: Path,
    *,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    note: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Convert the splits of a data set to shards in `out` and return the manifest.

    The manifest holds the `statistics` of every split (see `SplitCounts.to_json`) and the `warnings` of the
    scan. Equal input gives equal bytes, for any number of workers. The new result replaces an earlier one
    in `out` when it is complete; on an error the earlier one remains.

    Args:
        data, workers, progress: see `scan`.
        out: the folder to write.
        note: called with each line about files that are left out.

    Raises:
        DataError: files or folders are invalid, or the data set is refused as a whole; the message has the
            number of problems and the first ten.
        ConfigError: the root has an environment variable that is not set.
    """
    with atomic_folder(out, marker=MANIFEST) as temporary, ExitStack() as stack:
        writers = {
            split: stack.enter_context(closing(ShardWriter(temporary, split=split, classes=data.classes)))
            for split in data.split_names
        }

        def write(split: str, record: Record) -> None:
            writers[split].write(record)

        result = scan(data, write=write, workers=workers, progress=progress)
        for line in result.notes if note is not None else ():
            note(line)
        if result.errors or result.problems:
            raise DataError(summary(data, result))
        return write_manifest(
            temporary,
            classes=data.classes,
            splits={split: writer.finish() for split, writer in writers.items()},
            statistics={split: counts.to_json(data) for split, counts in result.splits.items()},
            warnings=result.warnings,
        )


def summary(data: DataConfig, result: Scan) -> str:
    """Return why a data set is refused: the number of problems and the first ten, one a line."""
    problems = [*result.errors, *result.problems]
    shown = "\n".join(f"  {problem}" for problem in problems[:_SHOWN_PROBLEMS])
    hidden = len(problems) - _SHOWN_PROBLEMS
    rest = f"\n  ... and {hidden} more" if hidden > 0 else ""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return f"data set {data.name} cannot be prepared: {count}. Nothing was written.\n{shown}{rest}"
