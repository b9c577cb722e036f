"""Many images at once: order, bounds, problems and torch's number of threads."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from regproxy.errors import DataError
from regproxy.inference.image_workers import process_images, run_in_threads

CPU = torch.device("cpu")


@pytest.fixture
def four_threads(one_thread: None):
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(1)


def test_results_keep_their_order_and_few_tasks_run_ahead(four_threads: None) -> None:
    started, most_ahead, in_network, most = [], 0, 0, 0
    lock, meeting = threading.Lock(), threading.Barrier(4, timeout=30)

    def task(number: int) -> Callable[[threading.Semaphore], int]:
        def call(network: threading.Semaphore) -> int:
            nonlocal in_network, most
            started.append(number)
            with network:
                with lock:
                    in_network += 1
                    most = max(most, in_network)
                if number < 4:
                    meeting.wait()  # passes only if four tasks are in the network at once
                with lock:
                    in_network -= 1
            assert torch.get_num_threads() == 1
            return number

        return call

    results = []
    for result in run_in_threads([task(number) for number in range(30)], CPU):
        results.append(result)
        most_ahead = max(most_ahead, len(started) - len(results))
    assert results == list(range(30)) and most == 4 and most_ahead <= 8
    assert torch.get_num_threads() == 4


def test_problems_come_in_order_and_a_bug_stops_the_rest(
    put: Callable[..., Path], tmp_path: Path, four_threads: None
) -> None:
    sources = {
        tmp_path / f"out/{name}": put(f"{name}.png", size=(8, size)) for size, name in enumerate("abcdef", 9)
    }
    sources[tmp_path / "out/c"].write_bytes(b"no image")
    written, done = [], []

    def compute(image: np.ndarray) -> int:
        if image.shape[1] in (9, 14):
            raise DataError("it is narrow or wide")
        return image.shape[1]

    def write(image: np.ndarray, result: int, base: Path) -> None:
        assert image.shape == (8, result, 3)
        written.append(base.name)

    def progress(number: int, total: int) -> None:
        done.append((number, total))

    problems = process_images(sources, compute, write, device=CPU, progress=progress)
    assert [problem.partition(": ")[0][-5:] for problem in problems] == ["a.png", "c.png", "f.png"]
    assert problems[0].endswith("it is narrow or wide") and sorted(written) == ["b", "d", "e"]
    assert done == [(number, 6) for number in range(1, 7)]

    def bug(image: np.ndarray, result: int, base: Path) -> None:
        raise IndexError(base.name)

    with pytest.raises(IndexError, match="b"):
        process_images(sources, compute, bug, device=CPU)
    assert torch.get_num_threads() == 4


def test_a_gpu_has_one_image_at_a_time(four_threads: None) -> None:
    free = []
    for permits in run_in_threads([lambda network: network._value], torch.device("meta")):
        free.append(permits)
    assert free == [1]
