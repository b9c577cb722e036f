"""The board on which trials pin what they have to say, so that no training waits to be heard.

It lives in a process of its own on the driver's node, which imports neither torch nor the pipeline.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from pipelines.cluster.retry import ALLOWED, Budget
from pipelines.cluster.stop_signal import Reason
from regproxy.train.progress import Progress

_LOOK_EVERY_S = 1.0  # for nodes that leave
_DIED = f"its processes died {ALLOWED + 1} times without a newer checkpoint in between, see Ray's logs"


@dataclass
class News:
    """What is pinned, by index of trial; `hosts` says where each runs, `notes` are new since the last look.

    A note without an index is about the whole grid.
    """

    newest: dict[int, Progress] = field(default_factory=dict)
    hosts: dict[int, list[str]] = field(default_factory=dict)
    notes: list[tuple[int | None, str]] = field(default_factory=list)


class Board:
    """The actor; its methods are called remotely.

    `alive_nodes` returns Ray's ids of the nodes alive, `leaving_nodes` of those that will soon be gone.
    """

    def __init__(
        self, alive_nodes: Callable[[], set[str]], leaving_nodes: Callable[[], set[str]] = set
    ) -> None:
        self._leaving_nodes, self._leaving, self._looked = leaving_nodes, set(), -_LOOK_EVERY_S
        self._news = News()
        self._budget = Budget(alive_nodes)
        self._failures: dict[int, str] = {}
        self._starts: dict[int, int] = {}
        self._stopping = False

    def start(self, index: int) -> tuple[bool, str | None]:
        """Returns whether the grid is stopping, and the error of a trial that died too often to start."""
        self._news.hosts.pop(index, None)
        self._starts[index] = self.starts(index) + 1
        if self._stopping or self._budget.start(index):
            return self._stopping, None
        return False, self._failures.get(index, _DIED)

    def starts(self, index: int) -> int:
        """Returns how often a trial has started."""
        return self._starts.get(index, 0)

    def join(self, index: int, host: str, node: str) -> None:
        """Notes a process of a trial and where it runs: host name and Ray's id of the node."""
        self._news.hosts.setdefault(index, []).append(host)
        self._budget.join(index, node)

    def leave(self, index: int) -> None:
        """Notes that a trial has lost its processes."""
        hosts = self._news.hosts.pop(index, None)
        if hosts:
            self.note(index, f"lost its processes on {' '.join(dict.fromkeys(hosts))}, is taken up again")

    def begin(self, index: int, step: int) -> None:
        """Notes the step from which a trial goes on."""
        self._budget.resume(index, step)

    def pin(self, index: int, progress: Progress) -> None:
        self._news.newest[index] = progress

    def note(self, index: int | None, text: str) -> None:
        self._news.notes.append((index, text))

    def give_way(self, index: int) -> None:
        """Notes that a trial stops, with a checkpoint, because a signal asked a process to end."""
        self._news.hosts.pop(index, None)
        self._budget.give_way(index)

    def fail(self, index: int, text: str) -> None:
        """Notes what went wrong in an attempt that may be repeated."""
        self._failures[index] = text

    def stop(self) -> None:
        """Asks all trials to stop, with a checkpoint."""
        self._stopping = True

    def stopping(self) -> bool:
        return self._stopping

    def told(self, node: str) -> Reason | None:
        """Returns why the trials on a node shall stop: the whole grid does, or the node is about to leave."""
        if self._stopping:
            return "grid"
        if time.monotonic() - self._looked >= _LOOK_EVERY_S:
            self._looked = time.monotonic()
            with contextlib.suppress(
                Exception
            ):  # a cluster in trouble is asked again; trials go on asking us
                self._leaving = self._leaving_nodes()
        return "signal" if node in self._leaving else None

    def take(self) -> News:
        """Returns all that is pinned, and takes the notes off."""
        news = self._news
        self._news = replace(news, notes=[])
        return news
