"""Signals that stop work: Ctrl-C or SIGTERM to the driver, SIGTERM to a training process."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The driver received SIGINT or SIGTERM, and all running work has stopped."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class PreemptedError(RuntimeError):
    """The process or node of a training will end; the training has saved a checkpoint."""


class SignalRecord:
    """Signal handler that keeps the number of the signal; the second may raise Interrupted."""

    def __init__(self, *, second_interrupts: bool = False) -> None:
        self.number: int | None = None
        self._second_interrupts = second_interrupts

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.number is not None and self._second_interrupts:
            raise Interrupted(number)
        self.number = number


@contextlib.contextmanager
def recorded_signals(*numbers: int, second_interrupts: bool = False) -> Iterator[SignalRecord]:
    """Record signals in this context instead of ending the process.

    Only the main thread can install a handler. Another thread gets the record that the main thread has
    installed, or one that stays empty.
    """
    if threading.current_thread() is not threading.main_thread():
        handler = signal.getsignal(numbers[0])
        yield handler if isinstance(handler, SignalRecord) else SignalRecord()
        return
    record = SignalRecord(second_interrupts=second_interrupts)
    before = {number: signal.signal(number, record) for number in numbers}
    try:
        yield record
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def driver_signals() -> contextlib.AbstractContextManager[SignalRecord]:
    """Record the first Ctrl-C or SIGTERM to the driver; the second one raises Interrupted."""
    return recorded_signals(signal.SIGINT, signal.SIGTERM, second_interrupts=True)
