"""An MLflow server as `make mlflow` starts it, for tests."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def mlflow_server(folder: Path, port: int | None = None) -> Iterator[str]:
    """Run a server on the mlflow.db and mlartifacts of a folder; yield its address, kill it at the end."""
    if port is None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
    options = {
        "--backend-store-uri": f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination": str(folder / "mlartifacts"),
        "--port": str(port),
        "--workers": "1",
    }
    arguments = [text for option in options.items() for text in option]
    command = [Path(sys.executable).with_name("mlflow"), "server", *arguments]
    environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    with (folder / "server.log").open("a") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True, env=environment)
        address = f"http://127.0.0.1:{port}"
        try:
            for _ in range(600):
                with contextlib.suppress(OSError), urllib.request.urlopen(f"{address}/health"):
                    break
                time.sleep(0.1)
            yield address
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
