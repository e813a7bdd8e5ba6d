"""Ctrl-C is held back while torch is imported, and then obeyed."""

import os
import signal

import pytest

from lstm_lm.cli.interrupts import interrupts_held


def test_ctrl_c_waits_for_the_end():
    before, reached = signal.getsignal(signal.SIGINT), []
    with pytest.raises(KeyboardInterrupt), interrupts_held():
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(True)
    assert reached and signal.getsignal(signal.SIGINT) is before


def test_nothing_happens_without_it():
    before = signal.getsignal(signal.SIGINT)
    with interrupts_held():
        pass
    assert signal.getsignal(signal.SIGINT) is before
