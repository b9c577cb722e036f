"""How often a trial's processes may die before the trial counts as failed."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from pipelines.board import News

ALLOWED = 3  # deaths in a row without a newer checkpoint
_PATIENCE_S = 90.0  # how long after a process its node may be found dead


class Budget:
    """Counts anew whenever a trial goes on from a newer checkpoint; leaves out what was not its fault.

    That is a node that died, and a signal that asked the process to end. So a trial outlives any number of
    lost spot nodes, and one that crashes at the same place again and again ends.

    Trials are Tune's, whose `max_failures` it moves.
    """

    def __init__(self, alive_nodes: Callable[[], set[str]], clock: Callable[[], float] = time.monotonic):
        self._alive_nodes, self._clock = alive_nodes, clock
        self._resumed: dict[int, int] = {}
        self._yielded: Counter[int] = Counter()
        self._deaths: list[tuple[Any, list[str], float]] = []

    def died(self, trial: Any, nodes: list[str]) -> None:
        """Notes the death of a trial's process, with the nodes it ran on."""
        self._deaths.append((trial, nodes, self._clock()))

    def settle(self, trials: Iterable[Any], news: News) -> None:
        """Gives trials what the news grants them."""
        for trial in trials:
            index = trial.config["index"]
            if news.resumed.get(index, 0) > self._resumed.get(index, 0):
                self._resumed[index] = news.resumed[index]
                trial.max_failures = trial.num_failures + ALLOWED
            trial.max_failures += news.yielded[index] - self._yielded[index]
            self._yielded[index] = news.yielded[index]
        if self._deaths:
            alive, undecided = self._alive_nodes(), []
            for trial, nodes, when in self._deaths:
                if set(nodes) - alive:
                    trial.max_failures += 1
                elif self._clock() - when < _PATIENCE_S:
                    undecided.append((trial, nodes, when))
            self._deaths = undecided
