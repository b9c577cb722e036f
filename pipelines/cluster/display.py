"""The live table of running trials: redrawn on a terminal, elsewhere a few lines once a minute."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

_PRINT_INTERVAL_S = 60.0  # without a terminal
_REDRAW_INTERVAL_S = 0.5


class Observer:
    """Receiver of each trial's events, by its index in the list of trials; these methods do nothing."""

    def running(self, index: int, hosts: list[str], progress: Progress | None) -> None:
        """Take a report of a trial on `hosts`, which is empty after its processes died."""

    def message(self, index: int | None, text: str) -> None:
        """Take a message about a trial, or about all trials if `index` is None."""

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        """Take the end of a trial: it finished (`error` is None) or failed."""


class TrialsDisplay(Observer):
    """Table of each running trial: step, loss, learning rate, images/s, time left; a context manager."""

    def __init__(self, trials: list[Trial], *, already_finished: int, console: Console | None = None) -> None:
        self._trials = trials
        self._num_before = already_finished
        self._console = console or Console(file=sys.stdout)  # bound now, because stdout is redirected later
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._hosts: dict[int, list[str]] = {}
        self._newest: dict[int, Progress] = {}
        self._num_ended = 0
        self._started = self._printed = time.monotonic()
        self._redrawn = 0.0

    def __enter__(self) -> "TrialsDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def running(self, index: int, hosts: list[str], progress: Progress | None) -> None:
        """Show a report of a running trial."""
        if hosts:
            self._hosts[index] = hosts
        else:
            self._hosts.pop(index, None)
        if progress and progress.loss is not None:
            self._newest[index] = progress
        now = time.monotonic()
        if self._console.is_terminal and now - self._redrawn > _REDRAW_INTERVAL_S:
            self._redrawn = now
            self._live.update(self._table(), refresh=True)
        elif not self._console.is_terminal and now - self._printed > _PRINT_INTERVAL_S:
            self._printed = now
            for running in sorted(self._hosts):
                newest = self._newest.get(running)
                text = describe(newest) if newest else "starting"
                self._print(f"  {self._trials[running].name} on {self._where(running)}: {text}")

    def message(self, index: int | None, text: str) -> None:
        """Print a message."""
        self._print(text if index is None else f"  {self._trials[index].name}: {text}")

    def ended(self, index: int, error: str | None, traceback: str | None) -> None:
        """Print how a trial ended."""
        self._num_ended += 1
        self._hosts.pop(index, None)
        count = f"[{self._num_before + self._num_ended}/{self._num_before + len(self._trials)}]"
        name = self._trials[index].name
        if error:
            self._print(f"{count} {name} FAILED: {error}", style="red")
        else:
            newest = self._newest.get(index)
            loss = f", loss {newest.loss:.4f}" if newest else ""
            self._print(f"{count} {name} trained{loss} ({clock(time.monotonic() - self._started)})")

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _where(self, index: int) -> str:
        return " ".join(dict.fromkeys(self._hosts[index]))

    def _table(self) -> Table:
        num_done, total = self._num_before + self._num_ended, self._num_before + len(self._trials)
        table = Table(title=f"{num_done} of {total} trials finished, {len(self._hosts)} running")
        for column in ("data set", "variant"):
            table.add_column(column)
        table.add_column("seed", justify="right")
        table.add_column("node")
        for column in ("step", "loss", "learning rate", "images/s", "val mIoU", "left"):
            table.add_column(column, justify="right")
        for index in sorted(self._hosts):
            trial, newest = self._trials[index], self._newest.get(index)
            name = (trial.variant.data.name, trial.variant.name, str(trial.seed), self._where(index))
            table.add_row(*name, *(numbers(newest) if newest else ("starting",)))
        return table


def numbers(progress: Progress) -> tuple[str, ...]:
    """Return the numeric columns of the table: step, loss, learning rate, images/s, val mIoU, time left."""
    return (
        f"{progress.step}/{progress.steps}",
        f"{progress.loss:.4f}",
        f"{progress.learning_rate:.2e}",
        f"{progress.images_per_second:.1f}",
        "" if progress.val_miou is None else f"{100 * progress.val_miou:.2f}",
        clock(progress.seconds_left),
    )


def describe(progress: Progress) -> str:
    """Return a report as one line: step, loss, learning rate, images/s and time left."""
    return (
        f"step {progress.step}/{progress.steps}, loss {progress.loss:.4f}, lr {progress.learning_rate:.2e}, "
        f"{progress.images_per_second:.1f} images/s, {clock(progress.seconds_left)} left"
    )


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
