"""The live table of running trials: redrawn on a terminal, elsewhere a few lines once a minute."""

import sys
import time

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
        self._trials, self._num_before, self._num_ended = trials, already_finished, 0
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
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> "TrialsDisplay":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def running(self, index: int, hosts: list[str], progress: Progress | None) -> None:
        """Show a report of a running trial."""
        if hosts:
            self._hosts[index] = hosts
        else:
            self._hosts.pop(index, None)
        if progress and progress.loss is not None:
            self._newest[index] = progress
        on_terminal, now = self._console.is_terminal, time.monotonic()
        if now - self._shown > (_REDRAW_INTERVAL_S if on_terminal else _PRINT_INTERVAL_S):
            self._shown = now
            if on_terminal:
                self._live.update(self._table(), refresh=True)
            else:
                self._print_lines()

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
            took = clock(time.monotonic() - self._started)
            self._print(f"{count} {name} {self.outcome(index)} ({took})")

    def outcome(self, index: int) -> str:
        """Return how a trial ended that has not failed, such as "trained, loss 0.1234"."""
        newest = self._newest.get(index)
        return f"trained, loss {newest.loss:.4f}" if newest else "trained"

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)

    def _print_lines(self) -> None:
        for index in sorted(self._hosts):
            numbers = ", ".join(f"{name} {value}" for name, value in self._numbers(index).items())
            self._print(f"  {self._trials[index].name} on {self._where(index)}: {numbers or 'starting'}")

    def _table(self) -> Table:
        num_done, total = self._num_before + self._num_ended, self._num_before + len(self._trials)
        table = Table(title=f"{num_done} of {total} trials finished, {len(self._hosts)} running")
        for name in ("data set", "variant", "seed", "node", *_COLUMNS):
            table.add_column(name, justify="right" if name == "seed" or name in _COLUMNS else "left")
        for index in sorted(self._hosts):
            trial = self._trials[index]
            name = (trial.variant.data.name, trial.variant.name, str(trial.seed), self._where(index))
            table.add_row(*name, *(self._numbers(index).values() or ("starting",)))
        return table

    def _where(self, index: int) -> str:
        return " ".join(dict.fromkeys(self._hosts[index]))

    def _numbers(self, index: int) -> dict[str, str]:
        """Return the newest values of a trial by column; {} before its first loss."""
        newest = self._newest.get(index)
        if not newest:
            return {}
        texts = (
            f"{newest.step}/{newest.steps}",
            f"{newest.loss:.4f}",
            f"{newest.learning_rate:.2e}",
            f"{newest.images_per_second:.1f}",
            "-" if newest.val_miou is None else f"{100 * newest.val_miou:.2f}",
            clock(newest.seconds_left),
        )
        return dict(zip(_COLUMNS, texts, strict=True))


_COLUMNS = ("step", "loss", "learning rate", "images/s", "val mIoU", "left")


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
