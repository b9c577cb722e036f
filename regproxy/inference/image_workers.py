"""Process many images at once: some are decoded and written while others are in the network."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from regproxy.data.images import decode_image
from regproxy.errors import UserError
from regproxy.raw.folders import text_of

_MAX_IN_NETWORK = 4  # images at once on CPUs; more take more memory
_WAITING = 2  # further images, which are decoded or written meanwhile


def process_images(
    sources: Mapping[Path, Path],
    compute: Callable[[np.ndarray], Any],
    write: Callable[[np.ndarray, Any, Path], None],
    *,
    device: torch.device,
    image_range: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Decode, compute and write each image; return a message for each image that failed, in their order.

    Images are turned upright as their EXIF orientation says.

    Args:
        sources: from `find_images`.
        compute: called with an image, uint8 (X, Y, 3); runs the network. A UserError is the image's problem.
        write: called with an image, its computed result and its base, in any order of the images.
        device: of the network. A CPU computes several images at once, each with a part of the threads.
        image_range: the values of 16-bit and float images that become 0 and 255.
        progress: called after every image with (finished images, all images).
    """

    def process(base: Path, source: Path, in_network: threading.Semaphore) -> str | None:
        try:
            image = decode_image(source.read_bytes(), upright=True, image_range=image_range)
            with in_network:
                result = compute(image)
        except OSError as error:
            return f"{text_of(source)}: it cannot be read ({error.strerror})."
        except UserError as error:
            return f"{text_of(source)}: {error}"
        write(image, result, base)
        return None

    tasks = [partial(process, base, source) for base, source in sources.items()]
    problems = []
    for done, problem in enumerate(run_in_threads(tasks, device), start=1):
        if problem is not None:
            problems.append(problem)
        if progress is not None:
            progress(done, len(tasks))
    return problems


def run_in_threads(
    tasks: Sequence[Callable[[threading.Semaphore], Any]], device: torch.device
) -> Iterator[Any]:
    """Yield the result of each task, in their order; a few tasks run at once.

    Args:
        tasks: each is called with a semaphore, which it holds while it runs the network.
        device: of the network. Kernels of a CPU use their threads better for several images than for one; on
            another device one image at a time is in the network.
    """
    threads = torch.get_num_threads()
    at_once = min(threads, _MAX_IN_NETWORK, max(len(tasks), 1)) if device.type == "cpu" else 1
    in_network, rest = threading.Semaphore(at_once), iter(tasks)
    # After one large array was freed, the C library reuses the memory of images and tensors. Otherwise it
    # returns the memory to the system each time, which costs a sixth of the time of a small network.
    np.empty(30 * 2**20, np.uint8)
    with _pool(at_once + _WAITING, threads // at_once) as pool:
        pending = deque[Future](pool.submit(task, in_network) for task in islice(rest, at_once + _WAITING))
        while pending:
            result = pending.popleft().result()
            pending.extend(pool.submit(task, in_network) for task in islice(rest, 1))
            yield result


@contextmanager
def _pool(workers: int, threads_each: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool whose threads use `threads_each` of torch's threads; at the end wait for running tasks."""
    before = torch.get_num_threads()
    pool = ThreadPoolExecutor(workers, "image", torch.set_num_threads, (threads_each,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(before)
