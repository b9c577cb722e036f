"""What a stage knows about a trial, to be shown in MLflow."""

from dataclasses import dataclass, field
from typing import Any, Literal

from regproxy.runs.trial import Trial
from regproxy.train.progress import Progress


@dataclass
class TrialState:
    """The newest state of a trial; times are in seconds since 1970.

    A trial is WAITING before its training starts in this stage and SCHEDULED while it waits to be resumed.
    The other statuses are MLflow's. `points` are the reports that MLflow may not have yet. `version` counts
    the changes.
    """

    trial: Trial
    status: Literal["WAITING", "RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"] = "WAITING"
    hosts: list[str] = field(default_factory=list)
    started: float | None = None
    ended: float | None = None
    error: str | None = None
    points: list[Progress] = field(default_factory=list)
    result: dict[str, Any] | None = None
    version: int = 1
