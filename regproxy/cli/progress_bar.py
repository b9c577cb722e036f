"""Progress of a long task: a bar on a terminal, else a line every 20 seconds."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_INTERVAL_S = 20.0


@contextmanager
def progress_bar(name: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a callback `(done, total)` that shows the progress of the task called `name`.

    `unit` is the plural of what is counted, such as "images".
    """
    console = Console()
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(name, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        return
    printed = time.monotonic()

    def print_line(done: int, total: int) -> None:
        nonlocal printed
        if time.monotonic() - printed > _LINE_INTERVAL_S:
            printed = time.monotonic()
            print(f"{name}: {done} of {total} {unit}", flush=True)

    yield print_line
