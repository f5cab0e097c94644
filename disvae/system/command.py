"""What the command lines that work on runs share: paths among the arguments, --help, errors, exit statuses."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from disvae.config import ConfigError
from disvae.system.signals import Interrupted, interruptible


def paths(arguments: Sequence[str], key: str) -> tuple[list[Path], list[str]]:
    """The paths among the arguments, with or without `KEY=` before them, and the overrides that are left.

    A run's folder has commas and equals signs in its name, so what exists on disk is a path.
    """
    found, overrides = [], []
    for argument in arguments:
        named = argument.removeprefix(f"{key}=")
        if named != argument or "=" not in argument or Path(argument).exists():
            found.append(Path(named))
        else:
            overrides.append(argument)
    return found, overrides


def command(describe: Callable[[], str], work: Callable[[Sequence[str]], None], kept: str = "computed") -> None:
    """Run `work` on the command line's arguments, or print what `describe` says for --help.

    Exit status: 2 for what cannot be; 130 and 143 for Ctrl-C and SIGTERM, where what was `kept` is named; 141
    where whoever reads the output went away.
    """
    arguments = sys.argv[1:]
    if any(argument in ("-h", "--help") for argument in arguments):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # of a reader that has seen enough
        print(describe())
        return
    # Before torch loads OpenMP: threads that wait sleep soon; where cores are shared, spinning costs much.
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    logging.basicConfig(format="%(message)s")
    try:
        with interruptible():
            work(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        sys.exit(128 + signal.SIGPIPE)
    except ConfigError as error:
        print(f"disvae: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as error:
        print(f"disvae: {error}; what was {kept} is kept", file=sys.stderr)
        sys.exit(128 + error.signum)
