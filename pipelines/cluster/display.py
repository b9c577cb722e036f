"""The live table of a grid of trials; on a terminal redrawn in place, elsewhere a line now and then."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from pipelines.cluster.board import News
from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress

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
        self._news = News()
        self._ended: dict[int, str | None] = {}
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> "GridDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def update(self, news: News) -> None:
        """Takes what is on the board; its notes are printed for good."""
        self._news = news
        for index, text in news.notes:
            self._print(text if index is None else f"  {self._trials[index].name}: {text}")
        if self._console.is_terminal:
            self._live.update(self._table(), refresh=True)
        elif time.monotonic() - self._printed > _PLAIN_INTERVAL_S:
            self._printed = time.monotonic()
            for index in self._running():
                progress = news.newest.get(index)
                said = describe(progress) if progress else "starting"
                self._print(f"  {self._trials[index].name} on {self._where(index)}: {said}")

    def end(self, index: int, error: str | None) -> None:
        """Notes that a trial has ended, well or with an error, and prints its line for good."""
        self._ended[index] = error
        done = self._done_before + len(self._ended)
        count = f"[{done}/{self._done_before + len(self._trials)}]"
        name = self._trials[index].name
        if error:
            self._print(f"{count} {name} FAILED: {error}", style="red")
        else:
            progress = self._news.newest.get(index)
            loss = f", loss {progress.loss:.4f}" if progress else ""
            self._print(f"{count} {name} trained{loss} ({clock(time.monotonic() - self._started)})")

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _running(self) -> list[int]:
        return [index for index in sorted(self._news.hosts) if index not in self._ended]

    def _where(self, index: int) -> str:
        return " ".join(dict.fromkeys(self._news.hosts[index]))

    def _table(self) -> Table:
        total = self._done_before + len(self._trials)
        done = self._done_before + len(self._ended)
        table = Table(title=f"{done} of {total} trials finished, {len(self._running())} running")
        for column in ("data set", "variant"):
            table.add_column(column)
        table.add_column("seed", justify="right")
        table.add_column("node")
        for column in ("step", "loss", "learning rate", "images/s", "val mIoU", "left"):
            table.add_column(column, justify="right")
        for index in self._running():
            trial = self._trials[index]
            place = (trial.variant.data.name, trial.variant.name, str(trial.seed), self._where(index))
            progress = self._news.newest.get(index)
            table.add_row(*place, *(numbers(progress) if progress else ("starting",)))
        return table


def numbers(progress: Progress) -> tuple[str, ...]:
    """Returns the numeric columns of the table: step, loss, learning rate, images/s, val mIoU, time left."""
    return (
        f"{progress.step}/{progress.steps}",
        f"{progress.loss:.4f}",
        f"{progress.learning_rate:.2e}",
        f"{progress.images_per_second:.1f}",
        "" if progress.val_miou is None else f"{100 * progress.val_miou:.2f}",
        clock(progress.seconds_left),
    )


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
