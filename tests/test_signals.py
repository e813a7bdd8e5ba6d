"""Signals are held back while torch is imported, and then delivered."""

import os
import signal

import pytest

from lstm_lm.training.signals import HeldSignals


def test_ctrl_c_waits_for_the_end():
    before, reached = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), HeldSignals():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(True)
    assert reached and signal.getsignal(signal.SIGINT) is before


def test_nothing_happens_without_it():
    before = signal.getsignal(signal.SIGINT)
    with HeldSignals():
        pass
    assert signal.getsignal(signal.SIGINT) is before


def test_another_handler_gets_the_signal():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with HeldSignals():
            os.kill(os.getpid(), signal.SIGTERM)
            assert not received
        assert received == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
