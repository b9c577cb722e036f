"""One grid at a time trains a profile's runs in a folder: two would write into each other's."""

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(profile: str, runs: Path = Path("runs")) -> Iterator[None]:
    """Waits, saying so, while another process of this machine is in here for the same profile and folder."""
    runs.mkdir(exist_ok=True)
    with (runs / f".{profile}.lock").open("a+") as lock:  # kept: were it removed, two could hold it
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            other = lock.read().strip() or "another one"
            print(
                f"process {other} is training {runs}/{profile}: waiting for it to end "
                f"(`kill {other}` makes it write checkpoints and stop)",
                file=sys.stderr,
                flush=True,
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
