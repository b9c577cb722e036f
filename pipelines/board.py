"""The board on which trials pin what they have to say, so that no training waits to be heard.

It lives in a process of its own on the driver's node, which imports neither torch nor the pipeline.
"""

from collections import Counter
from dataclasses import dataclass, field

from regproxy.train.progress import Progress


@dataclass
class News:
    """What is pinned: all by index of trial; `notes` are new since the last look.

    `hosts` and `nodes` (Ray's ids) say where each trial runs now, `resumed` from which step at best it went
    on, `yielded` how often it gave way to a signal, `failures` what its last failed attempt said.
    """

    newest: dict[int, Progress] = field(default_factory=dict)
    hosts: dict[int, list[str]] = field(default_factory=dict)
    nodes: dict[int, list[str]] = field(default_factory=dict)
    resumed: dict[int, int] = field(default_factory=dict)
    yielded: Counter[int] = field(default_factory=Counter)
    failures: dict[int, str] = field(default_factory=dict)
    notes: list[tuple[int | None, str]] = field(default_factory=list)


class Board:
    """The actor; its methods are called remotely."""

    def __init__(self) -> None:
        self._news = News()
        self._stopping = False

    def start(self, index: int) -> bool:
        """Notes that a trial takes up work, and returns whether it may: not if the grid is stopping."""
        self.leave(index)
        return not self._stopping

    def join(self, index: int, host: str, node: str) -> None:
        """Notes a process of a trial and where it runs."""
        self._news.hosts.setdefault(index, []).append(host)
        self._news.nodes.setdefault(index, []).append(node)

    def leave(self, index: int) -> None:
        """Notes that a trial's processes are gone."""
        self._news.hosts.pop(index, None)
        self._news.nodes.pop(index, None)

    def begin(self, index: int, step: int) -> None:
        """Notes the step from which a trial goes on."""
        self._news.resumed[index] = max(step, self._news.resumed.get(index, 0))

    def pin(self, index: int, progress: Progress) -> None:
        self._news.newest[index] = progress

    def note(self, index: int, text: str) -> None:
        self._news.notes.append((index, text))

    def give_way(self, index: int) -> None:
        """Notes that a trial stopped, with a checkpoint, because a signal asked its process to end."""
        self._news.yielded[index] += 1

    def fail(self, index: int, text: str) -> None:
        """Notes what went wrong in an attempt that will be repeated, or not."""
        self._news.failures[index] = text

    def stop(self) -> None:
        """Asks all trials to stop, with a checkpoint."""
        self._stopping = True

    def stopping(self) -> bool:
        return self._stopping

    def take(self) -> News:
        """Returns all that is pinned, and takes the notes off."""
        news = self._news
        self._news = News(**{**vars(news), "notes": []})
        return news
