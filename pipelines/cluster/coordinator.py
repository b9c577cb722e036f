"""An actor on the driver's node that training processes and the driver share; imports no torch."""

from typing import Any


class Coordinator:
    """Which trials shall stop, and the reports of trials that train on several workers.

    Tune stops an actor only between two calls of `step` and kills it ten seconds after the last trial, which
    is too early for a large checkpoint. So training processes ask here at each report. Tune also has no
    channel from the workers of a nested Ray Train run to its own actor, so their reports pass through here.
    """

    def __init__(self) -> None:
        self._stopping = False
        self._stopped = set[int]()
        self._reports: dict[int, list[dict[str, Any]]] = {}

    def stop(self, index: int | None = None) -> None:
        """Ask a trial, or all trials if `index` is None, to save a checkpoint and stop."""
        if index is None:
            self._stopping = True
        else:
            self._stopped.add(index)

    def stopping(self, index: int) -> bool:
        """Return whether a trial shall stop."""
        return self._stopping or index in self._stopped

    def put(self, index: int, report: dict[str, Any]) -> None:
        """Keep a report of a worker of a trial."""
        self._reports.setdefault(index, []).append(report)

    def take(self, index: int) -> list[dict[str, Any]]:
        """Return and remove the reports of a trial, in order."""
        return self._reports.pop(index, [])
