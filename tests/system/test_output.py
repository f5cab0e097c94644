"""Output that cannot be written must not end a program."""

import errno
import io
import os
import sys

import pytest

from disvae.system.output import keep_output, lost_output


@pytest.fixture
def printing_to(monkeypatch):
    """Return a function that lets standard output go to a descriptor, as Python opens it."""

    def use(descriptor: int, encoding: str = "utf-8", buffered: bool = True) -> None:
        stream = os.fdopen(descriptor, "wb", buffering=-1 if buffered else 0)
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(stream, encoding, write_through=not buffered))
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        keep_output()

    return use


@pytest.mark.parametrize("buffered", [True, False])
def test_a_closed_pipe_and_a_full_disk_are_noted_and_raise_nothing(printing_to, buffered):
    reader, writer = os.pipe()
    os.close(reader)
    for descriptor, error in ((writer, errno.EPIPE), (os.open("/dev/full", os.O_WRONLY), errno.ENOSPC)):
        printing_to(descriptor, buffered=buffered)
        for _ in range(10_000):
            print("a line", flush=True)
        assert lost_output().errno == error


def test_a_letter_that_the_encoding_lacks_becomes_a_question_mark(printing_to, tmp_path):
    printing_to(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), encoding="ascii")
    print("3 runs · β")
    assert lost_output() is None
    assert (tmp_path / "out").read_text() == "3 runs ? ?\n"


def test_a_program_without_standard_output_runs(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    keep_output()
    print("nobody reads this")
    assert lost_output() is None
