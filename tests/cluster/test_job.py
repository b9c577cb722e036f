"""`make job`: what is sent, what is refused, and a whole job on a real head of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import aiohttp
import psutil
import pytest
import requests

from pipelines.cluster import job
from regproxy.errors import ConfigError

ROOT = Path(__file__).parents[2]
COMMIT = "c" * 40
SENT = (
    "pipelines",
    "regproxy",
    "dvc.yaml",
    ".dvcignore",
    ".dvc",
    "pyproject.toml",
    "setup.py",
    "Makefile",
    ".gitignore",
)


def test_a_large_tree_is_refused_naming_its_files(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("/runs/\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/objects").write_bytes(b"0" * 5 * 2**20)
    (tmp_path / "small").write_bytes(b"0" * 10)
    (tmp_path / "large").write_bytes(b"0" * 3 * 2**20)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs/larger").write_bytes(b"0" * 5 * 2**20)
    assert job.check_size(tmp_path) == 3 * 2**20 + 10 + len("/runs/\n")
    with pytest.raises(ConfigError, match=r"has 3\.0 MiB, a job takes 1 MiB; .*: large \(3\.0 MiB\), small"):
        job.check_size(tmp_path, limit=2**20)


def test_cluster_and_storage_must_be_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"RAY_ADDRESS": "", "REGPROXY_STORAGE": ""}.items():
        monkeypatch.setenv(name, value)
    assert job.main() == 1
    assert "error: RAY_ADDRESS is not set" in capsys.readouterr().err
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:1")
    assert job.main() == 1
    assert "error: REGPROXY_STORAGE is not set" in capsys.readouterr().err


def test_the_job_gets_credentials_places_and_the_commit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "git_commit", lambda: "abc-dirty")
    wanted = {"AWS_ACCESS_KEY_ID": "a", "REGPROXY_STORAGE": "s3://b", "MLFLOW_TRACKING_URI": "http://c"}
    passed = job.job_variables({**wanted, "PATH": "/bin", "RAY_ADDRESS": "http://head"})
    assert passed == {**wanted, "REGPROXY_GIT_COMMIT": "abc-dirty"}
    monkeypatch.setattr(job, "git_commit", lambda: None)
    assert job.job_variables(wanted) == wanted


class Cluster:
    """What `follow` needs of a client: each step of the script is a log so far, or an error."""

    def __init__(self, *script: str | Exception, status: str = "SUCCEEDED", code: int | None = 0) -> None:
        self.script, self.status, self.code = list(script), status, code

    async def tail_job_logs(self, name: str) -> AsyncIterator[str]:
        step = self.script.pop(0)
        if isinstance(step, Exception):
            raise step
        for line in step.splitlines(keepends=True):
            yield line

    def get_job_info(self, name: str) -> SimpleNamespace:
        value = "RUNNING" if self.script else self.status
        status = SimpleNamespace(value=value, is_terminal=lambda: value != "RUNNING")
        return SimpleNamespace(status=status, message="why it ended", driver_exit_code=self.code)


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_POLL_INTERVAL_S", 0.0)


def test_log_goes_on_where_a_lost_connection_left_it(
    no_pauses: None, capsys: pytest.CaptureFixture[str]
) -> None:
    lost = (
        requests.exceptions.ConnectionError("reset"),
        aiohttp.ServerDisconnectedError(),
        RuntimeError("500"),
    )
    cluster = Cluster("one\n", lost[0], "one\ntwo\n", lost[1], lost[2], "one\ntwo\nthree\n")
    assert job.follow(cluster, "job") == 0
    assert capsys.readouterr().out == "one\ntwo\nthree\n"


@pytest.mark.parametrize(("status", "code", "expected"), [("FAILED", 7, 7), ("STOPPED", None, 1)])
def test_status_is_that_of_the_job(
    no_pauses: None, capsys: pytest.CaptureFixture[str], status: str, code: int | None, expected: int
) -> None:
    assert job.follow(Cluster("log\n", status=status, code=code), "job") == expected
    assert capsys.readouterr().out == "log\nwhy it ended\n"


def test_a_cluster_that_is_gone_is_given_up(no_pauses: None) -> None:
    cluster = Cluster("one\n", *(OSError("no route") for _ in range(1000)))
    with pytest.raises(ConfigError, match=r"has not answered .* \(no route\), job name may still be running"):
        job.follow(cluster, "name", timeout_s=0.01)


def free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The dashboard's address of a Ray head on ports of its own; ends exactly what it has started."""
    gcs, dashboard, agent, client, metrics = free_ports(5)
    temporary = tmp_path_factory.mktemp("r")
    bin_dir = Path(sys.executable).parent
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "PYTHONPATH"))}
    environment |= {"RAY_AUTH_MODE": "disabled", "PATH": f"{bin_dir}{os.pathsep}{os.environ['PATH']}"}
    options = {
        "port": gcs,
        "dashboard-port": dashboard,
        "dashboard-agent-listen-port": agent,
        "ray-client-server-port": client,
        "metrics-export-port": metrics,
        "num-cpus": 2,
        "temp-dir": temporary,
    }
    command = [str(bin_dir / "ray"), "start", "--head", "--block", "--disable-usage-stats"]
    process = subprocess.Popen(
        [*command, *(f"--{name}={value}" for name, value in options.items())],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address, deadline = f"http://127.0.0.1:{dashboard}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{address}/api/version", timeout=5).close()
                break
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, "the head did not start"
                time.sleep(0.5)
        yield address
    finally:
        ours = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
        for each in ours:
            if each.is_running():
                each.send_signal(signal.SIGKILL)
        process.wait()
        shutil.rmtree(temporary, ignore_errors=True)


def run_job(tree: Path, head: str, storage: str) -> str:
    """Submits the smoke profile from a copy of the sources; returns what the user sees."""
    tree.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "tmp", "cache")
    for name in SENT:
        source = ROOT / name
        shutil.copytree(source, tree / name, ignore=ignore) if source.is_dir() else shutil.copy(source, tree)
    (tree / "params.yaml").write_text("profiles: [smoke]\n")
    environment = {
        **os.environ,
        "RAY_AUTH_MODE": "disabled",
        "RAY_ADDRESS": head,
        "REGPROXY_STORAGE": storage,
        "REGPROXY_CACHE": f"{tree}-cache",
        "REGPROXY_GIT_COMMIT": COMMIT,
        "PYTHONPATH": str(tree),
    }
    command = [sys.executable, "-m", "pipelines.cluster.job"]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
    return done.stdout


def results(tree: Path) -> dict[str, dict]:
    files = tree.glob("results/smoke/*/*/*.json")
    return {str(path.relative_to(tree)): json.loads(path.read_text()) for path in files}


@pytest.mark.soak
def test_a_job_leaves_its_report_here_and_its_runs_on_the_storage(head: str, tmp_path: Path) -> None:
    first, second, storage = tmp_path / "first", tmp_path / "second", (tmp_path / "store").as_uri()
    assert "8 trials in profile smoke: 0 finished, 8 to train" in run_job(first, head, storage)
    assert "RegProxy 4x4" in (first / "reports/smoke/tables.md").read_text()
    assert len(list(first.glob("results/smoke/*/*/*.json"))) == 8
    assert not (first / "runs").exists()
    fetch = [sys.executable, "-m", "regproxy.cli", "fetch", "smoke", "--storage", storage]
    subprocess.run(fetch, cwd=first, check=True)
    records = [json.loads(path.read_text()) for path in first.glob("runs/smoke/*/*/*/run.json")]
    assert {record["git_commit"] for record in records} == {COMMIT} and len(records) == 8
    assert "8 trials in profile smoke: 8 finished, 0 to train" in run_job(second, head, storage)
    assert results(first) == results(second)
