"""CPU, memory, disk, network and GPU of this machine, under MLflow's names for system metrics."""

import time

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from pipelines.tracking import tracking_uri

_INTERVAL_S = 10.0  # MLflow's default


class HostMetrics:
    """Sampler of this machine's load. MLflow shows it in the tab "System metrics" of a run.

    MLflow's own monitor works in the process that trains. Trainings do not import mlflow, so the driver
    samples its own machine for the trials that train on it.
    """

    def __init__(self) -> None:
        self._monitor = SystemMetricsMonitor("", tracking_uri=tracking_uri())  # is never started
        self._last = -_INTERVAL_S
        self.sample()  # the first load would be the one since the machine started

    def sample(self) -> dict[str, float]:
        """Return the load since the last sample by MLflow's names; {} less than ten seconds after it."""
        if time.monotonic() - self._last < _INTERVAL_S:
            return {}
        self._last = time.monotonic()
        self._monitor.collect_metrics()
        values = {f"system/{name}": value for name, value in self._monitor.aggregate_metrics().items()}
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()
        return values
