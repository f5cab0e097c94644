"""Write an HTML page with a slider for each latent of a trained run; the browser decodes the codes.

    python -m disvae.explore outputs/sprites/RUN
    python -m disvae.explore run=outputs/sprites/RUN out=page.html

The page is one HTML file that needs no server and no network. It holds the weights of the decoder, 12 real images with
their codes, and codes drawn from the prior.

  out=FILE            where to write the page; default: explore.html in the run folder
  dataset.path=PATH   where the data of the run are now, if they have moved; other data are refused

The exit status is 2 for a wrong argument, 130 for Ctrl-C and 143 for SIGTERM.
"""

from collections.abc import Sequence

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run
from disvae.system.command import command, option, paths, target
from disvae.system.imports import loading


def explore(arguments: Sequence[str]) -> None:
    """Write the page of the run in the arguments.

    Raises:
        ConfigError: an argument is wrong; the message says what to type.
    """
    out, others = option(arguments, "out")
    place, others = option(others, "dataset.path")
    folders, overrides = paths(others, "run")
    if overrides:
        raise ConfigError(f"{overrides[0]} is not an option; the options are run=PATH, out=FILE and dataset.path=PATH")
    if len(folders) != 1:
        raise ConfigError("name the folder of one run: python -m disvae.explore outputs/DATASET/RUN")
    run = Run(folders[0])
    file = target(f"out={out}", "out") if out else run.path / "explore.html"
    run.check_trained()
    with loading():
        from disvae.explorer.contents import page_of
    with run.reading() if out else run.lock():
        write_atomically(file, page_of(run, place))
    print(f"Written: {file} ({file.stat().st_size / 1e6:.1f} MB); open it in a browser")


def main() -> None:
    """Run the command line that writes explorer pages."""
    command(lambda: __doc__ or "", explore, kept="written")


if __name__ == "__main__":
    main()
