"""Keep finished runs, results and checkpoints after an edit of the source code that moves no number.

The user vouches for the edit. Every file that is kept gets the current fingerprint and lists the earlier one
under `accepted_sources`, so that the report can mention it.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from regproxy.runs.fingerprint import hash_json
from regproxy.runs.record import read_record
from regproxy.runs.result import result_parts, result_path
from regproxy.runs.stored_run import CHECKPOINTS, RECORD, download_run
from regproxy.runs.trial import Trial
from regproxy.storage.folders import replace_json
from regproxy.storage.remote import Storage


class Accepted(NamedTuple):
    """How many files were kept; a local run and its copy on a storage count once."""

    runs: int
    results: int
    checkpoints: int


def accept_source(
    trials: Iterable[Trial],
    stored_copy: Callable[[Trial], Trial] | None = None,
    *,
    dry_run: bool = False,
) -> Accepted:
    """Give runs, results and checkpoints that other source code made the current fingerprint.

    A file is left unchanged if variant, seed, data or weights differ as well.

    Args:
        trials: trials with local run folders.
        stored_copy: returns a trial with its run folder on the shared storage, which is treated as well.
        dry_run: change nothing, and count only the runs and checkpoints of unfinished trials.

    Raises:
        DataError: a data set is not prepared.
        StorageError: the storage cannot be read or written.
    """
    num_runs = num_results = num_checkpoints = 0
    for trial in trials:
        if dry_run and trial.finished_record() is not None:
            continue
        copies = [trial, stored_copy(trial)] if stored_copy else [trial]
        folders = [Storage(copy.workspace.run_dir) for copy in copies]
        parts = trial.fingerprint_parts
        num_runs += max([_accept_run(folder, parts, dry_run) for folder in folders])
        if stored_copy and not dry_run and trial.finished_record() is None:  # this machine may be new
            download_run(folders[-1], Path(trial.workspace.run_dir), trial.fingerprint)
        num_checkpoints += max([_accept_checkpoints(folder, parts, dry_run) for folder in folders])
        num_results += _accept_result(trial)
    return Accepted(num_runs, num_results, num_checkpoints)


def _accept_run(folder: Storage, parts: Mapping[str, Any], dry_run: bool) -> bool:
    return folder.size("model.safetensors") is not None and _accept(folder, RECORD, parts, dry_run=dry_run)


def _accept_checkpoints(folder: Storage, parts: Mapping[str, Any], dry_run: bool) -> int:
    checkpoints = folder / CHECKPOINTS
    names = checkpoints.names()
    return sum(_accept(checkpoints / name, "manifest.json", parts, dry_run=dry_run) for name in names)


def _accept_result(trial: Trial) -> bool:
    """Update the result record if it was valid for an accepted fingerprint of the finished run."""
    path, run = result_path(trial), trial.finished_record()
    result = read_record(path)
    if result is None or run is None:
        return False
    accepted = {entry["fingerprint"] for entry in run.get("accepted_sources", [])}
    if result.get("run_fingerprint") not in accepted | {trial.fingerprint}:
        return False
    changes = {"run_fingerprint": trial.fingerprint}
    folder, parts = Storage(str(path.parent)), result_parts(trial)
    return _accept(folder, path.name, parts, ignored=("source", "run"), changes=changes)


def _accept(
    folder: Storage,
    name: str,
    parts: Mapping[str, Any],
    *,
    dry_run: bool = False,
    ignored: tuple[str, ...] = ("source",),
    changes: Mapping[str, Any] | None = None,
) -> bool:
    """Give a record the current fingerprint and `changes`, if of its parts only the `ignored` ones differ."""
    record = folder.read_json(name) or {}
    earlier = record.get("fingerprint_parts")
    if not isinstance(earlier, dict) or earlier == parts:
        return False
    if {**earlier, **{part: parts[part] for part in ignored}} != parts:
        return False
    if not dry_run:
        entry = {
            "fingerprint": record["fingerprint"],
            "source": earlier["source"],
            "accepted": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        current = {"fingerprint": hash_json(parts), "fingerprint_parts": dict(parts), **(changes or {})}
        accepted = [*record.get("accepted_sources", []), entry]
        replace_json(folder, name, {**record, **current, "accepted_sources": accepted})
    return True
