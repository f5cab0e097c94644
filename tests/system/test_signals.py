"""Signals that ask to stop: which are taken, from whom, and what becomes of them."""

import os
import signal
import threading

import pytest

from disvae.evaluation.confidence import attempt
from disvae.system.signals import STOPS, Interrupted, interruptible, stop_if_asked


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


def test_an_error_that_a_library_makes_of_the_interruption_is_the_interruption():
    def library():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            None.clean_up()  # type: ignore[attr-defined]

    with pytest.raises(Interrupted) as stopped, interruptible():
        library()
    assert stopped.value.signum == signal.SIGTERM
    assert isinstance(stopped.value.__cause__, AttributeError)
    with pytest.raises(AttributeError), interruptible():
        None.clean_up()  # type: ignore[attr-defined]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interruption_that_python_drops_is_raised_at_the_end_of_the_body():
    class Finalised:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    reached = []

    def library():
        Finalised()
        reached.append("after it")

    with pytest.raises(Interrupted) as stopped, interruptible():
        library()
    assert reached, "Python did not drop it"
    assert stopped.value.signum == signal.SIGINT
    stop_if_asked()  # that one is over


def test_a_metric_that_is_interrupted_has_not_failed():
    def metric():
        try:
            signal.raise_signal(signal.SIGTERM)
        except Interrupted:
            raise RuntimeError("a worker has ended") from None

    with pytest.raises(Interrupted), interruptible():
        attempt(metric)
    assert attempt(lambda: 1 / 0).reason == "ZeroDivisionError: division by zero"


def test_what_another_thread_does_is_not_stopped():
    """Only the main thread gets signals, and an error of another one is its own."""
    raised = []

    def work():
        try:
            with interruptible():
                stop_if_asked()
                raise ValueError("its own")
        except BaseException as error:
            raised.append(error)

    def library():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()

    with pytest.raises(Interrupted), interruptible():
        library()
    assert [type(error) for error in raised] == [ValueError]
