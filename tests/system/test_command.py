"""What a command that is asked to stop prints, at whatever moment."""

import signal
import sys

import pytest

from disvae import train
from disvae.system import command


def interrupts(*arguments, **options):
    signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("place", "name", "stands_for"),
    [
        (train, "check_names", interrupts),
        (train.hydra, "main", lambda **options: lambda job: interrupts),  # while Hydra composes the configuration
        (train.Job, "of", interrupts),
    ],
)
def test_ctrl_c_before_a_training_is_one_line(command_line, monkeypatch, tmp_path, place, name, stands_for):
    monkeypatch.setattr(place, name, stands_for)
    assert command_line("dataset=clusters") == (130, "disvae: SIGINT; what was computed is kept\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["allow_plugins", "prints_version"])
def test_ctrl_c_before_another_command_begins_is_one_line(monkeypatch, capsys, name):
    monkeypatch.setattr(command, name, interrupts)
    monkeypatch.setattr(sys, "argv", ["disvae-status"])
    with pytest.raises(SystemExit) as ended:
        command.command(lambda: "help", lambda arguments: None)
    assert (ended.value.code, capsys.readouterr().err) == (130, "disvae: SIGINT; what was computed is kept\n")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_python_drops_is_said_unless_it_is_raised_again(monkeypatch, capsys):
    class Finalised:
        def __init__(self, fails):
            self.fails = fails

        def __del__(self):
            self.fails()

    def divides():
        1 / 0  # noqa: B018

    said = []
    monkeypatch.setattr(sys, "unraisablehook", lambda dropped: said.append(dropped.exc_type))
    with command.refusals():
        Finalised(divides)
    with pytest.raises(SystemExit), command.refusals():
        Finalised(interrupts)
    assert capsys.readouterr().err == "disvae: SIGINT; what was computed is kept\n"
    assert said == [ZeroDivisionError]
