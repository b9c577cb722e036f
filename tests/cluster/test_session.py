"""Coming to a cluster, tasks on it, and leaving it."""

import subprocess
import sys

import pytest

from pipelines.cluster.session import ray_session
from regproxy.errors import ConfigError

# While Ray shuts down, another thread leaves its references in cycles and allocates as any library does.
LEAVES_REFERENCES = """
import gc, threading, time, ray
from pipelines.cluster.session import ray_session

class Cycle:
    pass

def leave(references):
    leaving.wait()
    while references:
        cycle = Cycle()
        cycle.itself, cycle.reference = cycle, references.pop()
        time.sleep(0.0005)

gc.set_threshold(20, 1, 1)
leaving = threading.Event()
with ray_session():
    references = [ray.put(number) for number in range(3000)]
    threading.Thread(target=leave, args=(references,), daemon=True).start()
    leaving.set()
print("collects again" if gc.isenabled() else "does not collect", "left", len(references))
"""
# Tasks that end or fail, that this machine cannot hold, and that a signal interrupts.
TASKS = """
import os, signal, threading, time
from pipelines.cluster.trials import map_tasks
from pipelines.cluster.session import ray_session
from pipelines.cluster.stop_signal import Interrupted
from regproxy.errors import ConfigError
from regproxy.config.profile import Resources

def inverse(number):
    return 1 / number

def wait(seconds):
    time.sleep(seconds)

def ask(number):
    time.sleep(2)
    os.kill(os.getpid(), number)

with ray_session():
    print(sorted((item, value) for item, value, error in map_tasks(inverse, [1, 2], Resources())))
    print([(item, value, "division" in error) for item, value, error in map_tasks(inverse, [0], Resources())])
    try:
        list(map_tasks(inverse, [1], Resources(workers=4, cpus=999)))
    except ConfigError as error:
        print(error)
    threading.Thread(target=ask, args=(signal.SIGTERM,)).start()
    try:
        list(map_tasks(wait, [600], Resources()))
    except Interrupted as interrupt:
        print("interrupted by", interrupt.number)
"""


def test_other_threads_may_leave_references_while_ray_shuts_down() -> None:
    ended = subprocess.run([sys.executable, "-c", LEAVES_REFERENCES], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    said, left = ended.stdout.split(" left ")
    assert said == "collects again"
    assert int(left) < 3000  # the thread was at it


def test_tasks_end_fail_do_not_fit_and_are_interrupted() -> None:
    ended = subprocess.run([sys.executable, "-c", TASKS], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    values, error, refused, interrupted = ended.stdout.splitlines()
    assert values == "[(1, 1.0), (2, 0.5)]"
    assert error == "[(0, None, True)]"
    assert "needs 999 CPUs" in refused
    assert interrupted == "interrupted by 15"


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:1", "no cluster answers at RAY_ADDRESS=127.0.0.1:1"),
        ("ray://127.0.0.1:1", "no cluster answers"),
        ("nobody.invalid:6379", "no cluster answers"),
        ("http://127.0.0.1:8265", "is a dashboard, which `make job` takes"),
    ],
)
def test_an_address_where_nobody_answers_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConfigError) as error, ray_session():
        pass
    assert said in str(error.value) and len(str(error.value).splitlines()) == 1
