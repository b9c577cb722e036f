"""Signals that stop work: Ctrl-C or SIGTERM to the driver, SIGTERM to a training process."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The driver received SIGINT or SIGTERM, and all running work has stopped."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class PreemptedError(RuntimeError):
    """The process or node of a training will end; the training has saved a checkpoint."""


class StopRequest:
    """Handler of the driver: it records the first SIGINT or SIGTERM and raises Interrupted on the second."""

    def __init__(self) -> None:
        self.number: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None:
            raise Interrupted(number)
        self.number = number

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM in this context; do nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class PreemptionSignal:
    """Signal handler of a training process; clouds send SIGTERM before they take a spot node away."""

    def __init__(self) -> None:
        self.received = False
        self._before: Callable | int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.received = True

    def install(self) -> None:
        """Record SIGTERM from now on instead of ending the process; call in the main thread."""
        self._before = signal.signal(signal.SIGTERM, self)

    def uninstall(self) -> None:
        """Restore the handler that `install` replaced."""
        signal.signal(signal.SIGTERM, self._before)

    @classmethod
    def current(cls) -> "PreemptionSignal":
        """Return the installed handler of this process, from any thread; a new one if there is none."""
        handler = signal.getsignal(signal.SIGTERM)
        return handler if isinstance(handler, cls) else cls()
