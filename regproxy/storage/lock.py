"""Locks between the processes of one machine."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout


@contextlib.contextmanager
def hold_lock(path: Path, waiting: str | None = None) -> Iterator[None]:
    """Hold an exclusive lock; wait while another process of this machine holds it.

    The operating system releases the lock when the process ends, even if it is killed.

    Args:
        path: lock file with the holder's PID. It is never removed, or two processes could hold the lock.
        waiting: message to print to stderr before waiting, with `{pid}` for the holder's PID, or None.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        if waiting:
            pid = path.read_text().strip() or "unknown"
            print(waiting.replace("{pid}", pid), file=sys.stderr, flush=True)
        held = lock.acquire()
    with held:
        path.write_text(f"{os.getpid()}\n")
        yield


def profile_lock(profile: str, runs: Path = Path("runs")) -> contextlib.AbstractContextManager[None]:
    """Hold an exclusive lock on a profile's runs. If another process holds it, print its PID and wait."""
    return hold_lock(
        _profile_lock_path(profile, runs),
        f"Process {{pid}} is training {runs}/{profile}. Waiting for it to end; "
        f"`kill {{pid}}` makes it save checkpoints and stop.",
    )


def profile_is_locked(profile: str, runs: Path = Path("runs")) -> bool:
    """Return whether a process of this machine holds the lock on a profile's runs."""
    if not runs.is_dir():
        return False
    lock = FileLock(_profile_lock_path(profile, runs))
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _profile_lock_path(profile: str, runs: Path) -> Path:
    return runs / f".{profile}.lock"
