"""CPU, memory, disk, network and GPU of this machine, under MLflow's names for system metrics."""

import sys
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
        self._monitor: SystemMetricsMonitor | None = None
        self._last = -_INTERVAL_S
        self._failed = False

    def sample(self) -> dict[str, float]:
        """Return the load since the last sample by MLflow's names; {} less than ten seconds after it.

        A machine that does not tell its load gives {} for ever, after one warning.
        """
        if self._failed or time.monotonic() - self._last < _INTERVAL_S:
            return {}
        self._last = time.monotonic()
        try:
            return self._collect()
        except Exception as error:  # psutil and the GPU's library raise their own types
            self._failed = True
            print(f"warning: the load of this machine is not shown in MLflow: {error!r}", file=sys.stderr)
            return {}

    def _collect(self) -> dict[str, float]:
        if self._monitor is None:
            self._monitor = SystemMetricsMonitor("", tracking_uri=tracking_uri())  # is never started
            self._monitor.collect_metrics()  # the first load would be the one since the machine started
            self._clear()
        self._monitor.collect_metrics()
        values = {f"system/{name}": value for name, value in self._monitor.aggregate_metrics().items()}
        self._clear()
        return values

    def _clear(self) -> None:
        for monitor in self._monitor.monitors:
            monitor.clear_metrics()
