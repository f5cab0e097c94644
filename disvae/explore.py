"""Write a page with a slider for each latent of a trained run, which decodes in the browser.

    python -m disvae.explore outputs/sprites/RUN
    python -m disvae.explore run=outputs/sprites/RUN out=page.html

The page is one HTML file that needs no server and no network: open it, send it, keep it. It holds the decoder's
weights, 12 real images with their codes and codes drawn from the prior.

  out=FILE          where to write; without, explore.html in the run's folder

Exit status: 2 for what cannot be, 130 and 143 for Ctrl-C and SIGTERM.
"""

from collections.abc import Sequence
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically
from disvae.runs.folder import Run
from disvae.system.command import command, paths
from disvae.system.imports import loading


def explore(arguments: Sequence[str]) -> None:
    """Write the page of the run that the arguments name.

    Raises:
        ConfigError: naming the argument and what to type.
    """
    target = [argument.removeprefix("out=") for argument in arguments if argument.startswith("out=")]
    folders, overrides = paths([argument for argument in arguments if not argument.startswith("out=")], "run")
    if overrides:
        raise ConfigError(f"{overrides[0]} is no option: run=PATH and out=FILE are")
    if len(folders) != 1 or len(target) > 1:
        raise ConfigError("name one run's folder: python -m disvae.explore outputs/DATASET/RUN")
    run = Run(folders[0])
    if not (run.path / "config.yaml").is_file() or not run.last.is_file():
        raise ConfigError(f"{run.path} is no trained run's folder: it holds no config.yaml or no last.ckpt")
    file = Path(target[0]) if target else run.path / "explore.html"
    with loading():
        from disvae.explorer.contents import page_of
    with run.lock():
        write_atomically(file, page_of(run))
    print(f"Written: {file} ({file.stat().st_size / 1e6:.1f} MB); open it in a browser")


def main() -> None:
    """The command line."""
    command(lambda: __doc__ or "", explore, kept="written")


if __name__ == "__main__":
    main()
