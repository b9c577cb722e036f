"""Keep finished runs, results and checkpoints after an edit of the source code that moves no number.

The user vouches for the edit. Every file that is kept gets the current fingerprint and lists the earlier one
under `accepted_sources`, so that the report can mention it.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from regproxy.runs.fingerprint import hash_json
from regproxy.runs.record import read_record
from regproxy.runs.result import result_parts, result_path
from regproxy.runs.stored_run import CHECKPOINTS, INDEX, RECORD, download_run
from regproxy.runs.trial import Trial
from regproxy.storage.json_file import write_json
from regproxy.storage.remote import Storage, is_url


class Accepted(NamedTuple):
    """How many files were kept; a local run and its copy on a storage count once."""

    runs: int
    results: int
    checkpoints: int


def accept_source(trials: Iterable[Trial], stored_copy: Callable[[Trial], Trial] | None = None) -> Accepted:
    """Give runs, results and checkpoints that other source code made the current fingerprint.

    A file is left unchanged if variant, seed, data or weights differ as well.

    Args:
        trials: trials with local run folders.
        stored_copy: returns a trial with its run folder on the shared storage, which is treated as well.

    Raises:
        DataError: a data set is not prepared.
        StorageError: the storage cannot be read or written.
    """
    totals = [0, 0, 0]
    for trial in trials:
        copies = [trial, stored_copy(trial)] if stored_copy else [trial]
        folders = [Storage(_url(copy.run_dir)) for copy in copies]
        runs = [_accept_run(folder, trial.fingerprint_parts) for folder in folders]
        if stored_copy and trial.finished_record() is None:  # this machine may be new
            download_run(folders[-1], Path(trial.run_dir), trial.fingerprint)
        checkpoints = [_accept_checkpoints(folder, trial.fingerprint_parts) for folder in folders]
        kept = (max(runs), _accept_result(trial), max(checkpoints))
        totals = [total + count for total, count in zip(totals, kept, strict=True)]
    return Accepted(*totals)


def count_acceptable(trials: Iterable[Trial], stored_copy: Callable[[Trial], Trial] | None = None) -> int:
    """Return how many finished runs `accept_source` would keep that would be trained again without it."""
    count = 0
    for trial in trials:
        record = read_record(Path(trial.run_dir) / RECORD)
        if record is None and stored_copy:
            record = _load(Storage(stored_copy(trial).run_dir), RECORD)
        count += _accepted(record, trial.fingerprint_parts) is not None
    return count


def _accept_run(folder: Storage, parts: Mapping[str, Any]) -> int:
    """Update run.json of a finished run; return 1 if it was updated, else 0."""
    record = _accepted(_load(folder, RECORD), parts)
    if record is None or folder.size("model.safetensors") is None:
        return 0
    content = _encode(record)
    index = _load(folder, INDEX)
    if index is not None:  # a run on a storage: its index holds the record's checksum
        folder.write(INDEX, _encode({**index, RECORD: hashlib.sha256(content).hexdigest()}))
    folder.write(RECORD, content)
    return 1


def _accept_checkpoints(folder: Storage, parts: Mapping[str, Any]) -> int:
    """Update the manifests of an unfinished run's checkpoints; return how many were updated."""
    count = 0
    for name in (folder / CHECKPOINTS).names():
        checkpoint = folder / CHECKPOINTS / name
        manifest = _accepted(_load(checkpoint, "manifest.json"), parts)
        if manifest is not None:
            checkpoint.write("manifest.json", _encode(manifest))
            count += 1
    return count


def _accept_result(trial: Trial) -> int:
    """Update the result record if it was valid for an accepted fingerprint of the run; return 1 or 0."""
    path, run = result_path(trial), trial.finished_record()
    result = read_record(path)
    if result is None or run is None:
        return 0
    run_fingerprints = {entry["fingerprint"] for entry in run.get("accepted_sources", [])}
    if result.get("run_fingerprint") in run_fingerprints | {trial.fingerprint}:
        result = _accepted(result, result_parts(trial), ignored=("source", "run"))
        if result is not None:
            write_json(path, {**result, "run_fingerprint": trial.fingerprint})
            return 1
    return 0


def _accepted(
    record: dict[str, Any] | None, parts: Mapping[str, Any], ignored: tuple[str, ...] = ("source",)
) -> dict[str, Any] | None:
    """Return a record with the current fingerprint; None unless only the `ignored` parts differ."""
    earlier = record and record.get("fingerprint_parts")
    if not isinstance(earlier, dict) or earlier == parts:
        return None
    if {**earlier, **{name: parts[name] for name in ignored}} != parts:
        return None
    entry = {
        "fingerprint": record["fingerprint"],
        "source": earlier["source"],
        "accepted": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return {
        **record,
        "fingerprint": hash_json(parts),
        "fingerprint_parts": dict(parts),
        "accepted_sources": [*record.get("accepted_sources", []), entry],
    }


def _load(folder: Storage, name: str) -> dict[str, Any] | None:
    try:
        content = json.loads(folder.read(name) or b"null")
    except ValueError:
        return None
    return content if isinstance(content, dict) else None


def _encode(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + "\n").encode()


def _url(run_dir: str) -> str:
    return run_dir if is_url(run_dir) else f"file://{Path(run_dir).absolute()}"
