"""How Ctrl-C and SIGTERM reach the driver and a training process."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.cluster.stop_signal import Interrupted, driver_signals, recorded_signals
from pipelines.stage import profile_stage
from regproxy.train.progress import Progress

PROGRESS = Progress(40, 80, 1.25, 6.0e-5, 12.5, 75.0, val_miou=0.345)


def test_sigterm_is_recorded_while_the_handler_is_installed() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with recorded_signals(signal.SIGTERM) as record, ThreadPoolExecutor(1) as pool:
        assert pool.submit(recorded_signals(signal.SIGTERM).__enter__).result() is record
        assert record.number is None
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
            assert record.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(recorded_signals(signal.SIGTERM).__enter__).result() is not record


def test_first_interrupt_is_recorded_and_the_second_raises() -> None:
    with driver_signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        assert signals.number == signal.SIGINT
        with pytest.raises(Interrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_interrupted_stage_says_so(capsys: pytest.CaptureFixture) -> None:
    def stage(profile: str) -> int:
        raise Interrupted(signal.SIGINT)

    assert profile_stage(stage, "", ["smoke"]) == 130
    assert "Run the command again to continue" in capsys.readouterr().err
