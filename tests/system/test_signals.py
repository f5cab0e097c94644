"""Signals that ask to stop: which are taken, and from whom."""

import os
import signal

import pytest

from disvae.system.signals import STOPS, Interrupted, interruptible


@pytest.mark.parametrize("signum", STOPS)
def test_each_of_them_interrupts_and_is_given_back(signum):
    former = signal.getsignal(signum)
    with pytest.raises(Interrupted) as stopped, interruptible():
        signal.raise_signal(signum)
    assert stopped.value.signum == signum
    assert signal.getsignal(signum) is former


def test_nohup_and_submitit_keep_theirs(monkeypatch):
    monkeypatch.setitem(os.environ, "SUBMITIT_EXECUTOR", "slurm")
    with pytest.raises(Interrupted), interruptible():
        signal.raise_signal(signal.SIGUSR1)  # submitit waits for SIGUSR2, if nothing else is said
    monkeypatch.setitem(os.environ, "SUBMITIT_PREEMPT_SIGNAL", "USR1")
    seen = []
    formers = [signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGUSR1, lambda *_: seen.append(1))]
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGUSR1)
    finally:
        for signum, former in zip((signal.SIGHUP, signal.SIGUSR1), formers, strict=True):
            signal.signal(signum, former)
    assert seen == [1]
