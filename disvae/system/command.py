"""The parts that most command lines share: paths among the arguments, --help, errors and exit statuses."""

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from disvae import __version__
from disvae.config import ConfigError
from disvae.system.output import keep_output, lost_output
from disvae.system.plugins import allow_plugins
from disvae.system.signals import Interrupted, interruptible


def paths(arguments: Sequence[str], key: str) -> tuple[list[Path], list[str]]:
    """Return the paths among the arguments, given as `PATH` or `KEY=PATH`, and the other arguments as overrides.

    The name of a run folder contains commas and equals signs, so an argument that exists on disk counts as a path, and
    so does one with a slash before its first equals sign.

    Raises:
        ConfigError: a path is empty.
    """
    found, overrides = [], []
    for argument in arguments:
        named = argument.removeprefix(f"{key}=")
        if not named:
            raise ConfigError(f"{argument or repr(argument)} names no path: type {key}=PATH")
        if named != argument or "/" in argument.partition("=")[0] or "=" not in argument or os.path.exists(argument):
            found.append(Path(named).expanduser())
        else:
            overrides.append(argument)
    return found, overrides


def target(argument: str, key: str) -> Path:
    """Return the path of KEY=FILE, the file that a command writes.

    Raises:
        ConfigError: the path is empty or a folder, or its folder does not exist.
    """
    path = Path(argument.removeprefix(f"{key}=")).expanduser()
    if argument == f"{key}=" or os.path.isdir(path) or not os.path.isdir(path.absolute().parent):
        raise ConfigError(f"{argument} must be a file in an existing folder: type {key}=FILE")
    return path


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


def prints_version(arguments: Sequence[str]) -> bool:
    """Print the version of disvae if --version is among the arguments; return whether it is."""
    if "--version" in arguments:
        print(f"disvae {__version__}")
    return "--version" in arguments


def let_threads_sleep() -> None:
    """Let waiting threads sleep soon, if torch has not loaded OpenMP yet; else nothing changes."""
    # Where cores are shared, spinning makes a step up to 20 times as slow.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def prepare_process() -> None:
    """Set up messages and, before torch loads OpenMP, its threads."""
    let_threads_sleep()
    os.environ["MPLBACKEND"] = "agg"  # pictures are files; a notebook's value names a package that may not be there
    keep_output()
    logging.basicConfig(format="%(message)s")  # to stderr


@contextmanager
def _without_dropped_interruptions() -> Iterator[None]:
    """Let Python not print an Interrupted that it drops in a finaliser: `interruptible` raises it again."""
    former = sys.unraisablehook
    sys.unraisablehook = lambda dropped: None if isinstance(dropped.exc_value, Interrupted) else former(dropped)
    try:
        yield
    finally:
        sys.unraisablehook = former


@contextmanager
def refusals(kept: str = "computed") -> Iterator[None]:
    """Turn expected errors in the body into a message of one line and an exit status; `kept` is said at a signal.

    The exit status is 2 for a wrong argument or a file that cannot be used, 128 + n for a signal n that asks to stop
    (130 for Ctrl-C, 143 for SIGTERM), 141 if the reader of the output, such as `head`, has ended, and 1 if the output
    could not be written.
    """
    try:
        with _without_dropped_interruptions(), interruptible():
            yield
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as error:
        print(f"disvae: {error}; what was {kept} is kept", file=sys.stderr)
        sys.exit(128 + error.signum)
    except OSError as error:
        if error.filename is None:  # not of a path that the user can mend
            raise
        print(f"disvae: {one_line(error)}", file=sys.stderr)
        sys.exit(2)
    if lost := lost_output():
        if lost.errno == errno.EPIPE:
            sys.exit(128 + signal.SIGPIPE)
        print(f"disvae: the output could not be written: {lost.strerror}", file=sys.stderr)
        sys.exit(1)


def one_line(error: OSError) -> str:
    """Return an error of a path with the path first; a name of 10,000 letters is cut."""
    path = str(error.filename)
    hint = ": type a shorter path" if error.errno == errno.ENAMETOOLONG else ""
    return f"{path if len(path) < 200 else f'{path[:200]}...'}: {error.strerror}{hint}"


def command(describe: Callable[[], str], work: Callable[[Sequence[str]], None], kept: str = "computed") -> None:
    """Run `work` with the arguments of the command line, or print the text of `describe` for --help.

    `refusals` says which errors end in a line and in which exit status.
    """
    prepare_process()
    with refusals(kept):
        arguments = allow_plugins(sys.argv[1:])
        if prints_version(arguments):
            return
        if asks_help(arguments):
            print(describe())
        else:
            work(arguments)
