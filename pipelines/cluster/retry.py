"""The one policy that decides whether a trial is restarted after its processes died."""

from collections.abc import Callable

MAX_DEATHS = 3  # in a row without a newer checkpoint


class RetryPolicy:
    """Decide whether a trial may be restarted after its processes died.

    A trial fails after more than MAX_DEATHS deaths without a newer checkpoint in between. A death does not
    count if one of the trial's nodes was lost, and a preempted trial has not died. So a trial survives any
    number of lost spot nodes, but a trial that crashes again and again at the same step ends.

    `alive_nodes` returns Ray's ids of the nodes that are alive.
    """

    def __init__(self, alive_nodes: Callable[[], set[str]]) -> None:
        self.alive_nodes = alive_nodes
        self._deaths: dict[int, list[set[str]]] = {}  # by trial: the nodes of each death
        self._resumed_step: dict[int, int] = {}

    def record_death(self, index: int, nodes: set[str]) -> None:
        """Record that a trial's processes on `nodes` died."""
        self._deaths.setdefault(index, []).append(nodes)

    def record_resume(self, index: int, step: int) -> None:
        """Record the step that a trial resumed from; a newer checkpoint than before clears its deaths."""
        if step > self._resumed_step.get(index, 0):
            self._resumed_step[index] = step
            self._deaths.pop(index, None)

    def may_start(self, index: int) -> bool:
        """Return whether a trial may be started or restarted."""
        deaths = self._deaths.get(index, [])
        if deaths:  # Ray may notice late that a node is lost, so earlier deaths are checked again
            alive = self.alive_nodes()
            deaths[:] = [nodes for nodes in deaths if nodes <= alive]
        return len(deaths) <= MAX_DEATHS
