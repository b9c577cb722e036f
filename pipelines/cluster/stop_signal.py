"""How a process learns that it shall stop: a training by SIGTERM, as clouds announce the end of a spot node,
or because the whole grid stops; the driver by Ctrl-C or SIGTERM.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Literal

Reason = Literal["signal", "grid"]  # to one process, or to all of them


class Interrupted(KeyboardInterrupt):
    """A signal asked the driver to stop, and all that ran has stopped."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class StopRequest:
    """Ctrl-C or SIGTERM to the driver: the first asks, the second ends it at once."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Interrupted(number)
        self.number = number

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """While entered, the signals are requests; in any thread but the main one it does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Notice:
    """A signal handler that only remembers; training looks at it once a step."""

    def __init__(self) -> None:
        self.reason: Reason | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.reason = "signal"

    def given(self) -> bool:
        return self.reason is not None

    def install(self) -> None:
        """Makes SIGTERM a notice, for good, instead of the end; only in a main thread."""
        signal.signal(signal.SIGTERM, self)

    @contextmanager
    def heeded(self) -> Iterator["Notice"]:
        """While entered, SIGTERM is a notice instead of the end; only in a main thread."""
        before = signal.signal(signal.SIGTERM, self)
        try:
            yield self
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def watching(self, told: Callable[[], Reason | None], every_s: float = 1.0) -> Iterator[None]:
        """While entered, a thread asks now and then for a reason to stop, until there is one."""
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(every_s):
                try:
                    if reason := told():
                        self.reason = self.reason or reason
                        return
                except Exception:  # the board is gone, and so will this process be
                    return

        thread = threading.Thread(target=watch, name="told-to-stop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()


def installed_notice() -> Notice:
    """Returns the notice that handles SIGTERM in this process, from any thread; else one that none gives."""
    handler = signal.getsignal(signal.SIGTERM)
    return handler if isinstance(handler, Notice) else Notice()
