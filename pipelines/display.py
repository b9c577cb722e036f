"""The live table of a grid of trials; on a terminal redrawn in place, elsewhere a line now and then."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from regproxy.train.context import Progress
from regproxy.train.trial import Trial

_PLAIN_INTERVAL_S = 60.0


class GridDisplay:
    """Shows each running trial's step, loss, learning rate, images/s and time left; a context manager."""

    def __init__(self, trials: list[Trial], *, already_finished: int, console: Console | None = None) -> None:
        self._trials = trials
        self._done_before = already_finished
        self._console = console or Console(file=sys.stdout)  # bound now: Ray's output is redirected later
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._newest: dict[int, Progress] = {}
        self._ended: dict[int, str | None] = {}
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> "GridDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def update(self, newest: dict[int, Progress], notes: list[tuple[int, str]]) -> None:
        """Takes the newest progress by index of trial, and notes, which are printed for good."""
        self._newest = newest
        for index, text in notes:
            self._print(f"  {self._trials[index].name}: {text}")
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)
        elif time.monotonic() - self._printed > _PLAIN_INTERVAL_S:
            self._printed = time.monotonic()
            for index in self._running():
                self._print(f"  {self._trials[index].name}: {describe(newest[index])}")

    def end(self, index: int, error: str | None) -> None:
        """Notes that a trial has ended, well or with an error, and prints its line for good."""
        self._ended[index] = error
        done = self._done_before + len(self._ended)
        count = f"[{done}/{self._done_before + len(self._trials)}]"
        name = self._trials[index].name
        if error:
            self._print(f"{count} {name} FAILED: {error}", style="red")
        else:
            progress = self._newest.get(index)
            loss = f", loss {progress.loss:.4f}" if progress else ""
            self._print(f"{count} {name} trained{loss} ({clock(time.monotonic() - self._started)})")

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _running(self) -> list[int]:
        return [index for index in sorted(self._newest) if index not in self._ended]

    def _table(self) -> Table:
        total = self._done_before + len(self._trials)
        done = self._done_before + len(self._ended)
        table = Table(title=f"{done} of {total} trials finished, {len(self._running())} running")
        for column in ("trial", "step", "loss", "learning rate", "images/s", "val mIoU", "left"):
            table.add_column(column, justify="left" if column == "trial" else "right")
        for index in self._running():
            progress = self._newest[index]
            miou = "" if progress.val_miou is None else f"{100 * progress.val_miou:.2f}"
            table.add_row(
                self._trials[index].name,
                f"{progress.step}/{progress.steps}",
                f"{progress.loss:.4f}",
                f"{progress.learning_rate:.2e}",
                f"{progress.images_per_second:.1f}",
                miou,
                clock(progress.seconds_left),
            )
        return table


def describe(progress: Progress) -> str:
    """Returns one line: step, loss, learning rate, images/s and time left."""
    return (
        f"step {progress.step}/{progress.steps}, loss {progress.loss:.4f}, lr {progress.learning_rate:.2e}, "
        f"{progress.images_per_second:.1f} images/s, {clock(progress.seconds_left)} left"
    )


def clock(seconds: float) -> str:
    """Returns a duration as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
