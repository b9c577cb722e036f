"""How often a trial's processes may die before the trial counts as failed."""

from collections.abc import Callable

ALLOWED = 3  # deaths in a row without a newer checkpoint


class Budget:
    """Decides at each start of a trial whether it may start once more.

    It counts anew whenever a trial goes on from a newer checkpoint, and leaves out what was not the trial's
    fault: a node that died, a signal that asked the process to end. So a trial outlives any number of lost
    spot nodes, and one that crashes at the same place again and again ends.
    """

    def __init__(self, alive_nodes: Callable[[], set[str]]) -> None:
        self._alive_nodes = alive_nodes
        self._running: dict[int, set[str]] = {}
        self._deaths: dict[int, list[set[str]]] = {}
        self._resumed: dict[int, int] = {}

    def start(self, index: int) -> bool:
        """Returns whether a trial may start; if it was running, it has died since."""
        deaths = self._deaths.setdefault(index, [])
        if index in self._running:
            deaths.append(self._running[index])
        if deaths:  # a node may be found dead only later, so all are looked at again
            alive = self._alive_nodes()
            deaths[:] = [nodes for nodes in deaths if nodes <= alive]
        self._running[index] = set()
        return len(deaths) <= ALLOWED

    def join(self, index: int, node: str) -> None:
        """Notes a node on which the trial runs."""
        self._running.setdefault(index, set()).add(node)

    def resume(self, index: int, step: int) -> None:
        """Notes the step from which the trial goes on."""
        if step > self._resumed.get(index, 0):
            self._resumed[index] = step
            self._deaths[index] = []

    def give_way(self, index: int) -> None:
        """Notes that the trial ended its processes itself, with a checkpoint."""
        self._running.pop(index, None)
