"""The parts that most command lines share: paths among the arguments, --help, errors and exit statuses."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from disvae.config import ConfigError
from disvae.system.signals import Interrupted, interruptible


def paths(arguments: Sequence[str], key: str) -> tuple[list[Path], list[str]]:
    """Return the paths among the arguments, given as `PATH` or `KEY=PATH`, and the other arguments as overrides.

    The name of a run folder contains commas and equals signs, so an argument that exists on disk counts as a path.
    """
    found, overrides = [], []
    for argument in arguments:
        named = argument.removeprefix(f"{key}=")
        if named != argument or "=" not in argument or Path(argument).exists():
            found.append(Path(named))
        else:
            overrides.append(argument)
    return found, overrides


def option(arguments: Sequence[str], name: str) -> tuple[str | None, list[str]]:
    """Return the value of NAME=VALUE among the arguments (None: it is not given), and the other arguments.

    Raises:
        ConfigError: the option has no value or is given twice.
    """
    values = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{name}=")]
    if len(values) > 1 or "" in values:
        raise ConfigError(f"{name} must have one value, got {', '.join(values) or 'none'}; type {name}=PATH")
    return next(iter(values), None), [argument for argument in arguments if not argument.startswith(f"{name}=")]


def asks_help(arguments: Sequence[str]) -> bool:
    """Return whether one of the arguments is -h or --help."""
    return any(argument in ("-h", "--help") for argument in arguments)


def let_threads_sleep() -> None:
    """Let waiting threads sleep soon, if torch has not loaded OpenMP yet; else nothing changes."""
    # Where cores are shared, spinning makes a step up to 20 times as slow.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def prepare_process() -> None:
    """Set up messages and, before torch loads OpenMP, its threads."""
    let_threads_sleep()
    logging.basicConfig(format="%(message)s")  # to stderr


def command(describe: Callable[[], str], work: Callable[[Sequence[str]], None], kept: str = "computed") -> None:
    """Run `work` with the arguments of the command line, or print the text of `describe` for --help.

    The exit status is 2 for a wrong argument, 130 for Ctrl-C, 143 for SIGTERM (the message says which results are
    `kept`), and 141 if the reader of the output, such as `head`, has ended.
    """
    arguments = sys.argv[1:]
    prepare_process()
    try:
        if asks_help(arguments):
            print(describe())
        else:
            with interruptible():
                work(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at exit
        sys.exit(128 + signal.SIGPIPE)
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as error:
        print(f"disvae: {error}; what was {kept} is kept", file=sys.stderr)
        sys.exit(128 + error.signum)
