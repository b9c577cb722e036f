"""How far long work is: a bar on a terminal, elsewhere a line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_INTERVAL_S = 20.0


@contextmanager
def shown(name: str, things: str) -> Iterator[Callable[[int, int], None]]:
    """Gives the callback that shows progress, to be called with how many `things` are done and are in all."""
    console = Console()
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    printed = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed > _PLAIN_INTERVAL_S:
            printed = time.monotonic()
            print(f"{name}: {done} of {total} {things}", flush=True)

    yield show
