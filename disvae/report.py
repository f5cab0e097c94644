"""Write one self-contained page on a run: its pictures, curves, terms, scores and configuration.

    python -m disvae.report outputs/sprites/RUN
    python -m disvae.report run=outputs/sprites/RUN out=page.html

Every run that ends writes it, as report.html in its folder; of one that has not ended, this shows what is there.
Pictures are those in its folder figures/: python -m disvae.evaluate RUN figure=[...] draws more.
Exit status: 2 for what cannot be.
"""

from collections.abc import Sequence
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.system.command import command, paths


def report(arguments: Sequence[str]) -> None:
    """Write the pages of the runs that the arguments name.

    Raises:
        ConfigError: no run, or a file that cannot be written.
    """
    folders, overrides = paths(arguments, "run")
    targets = [override.removeprefix("out=") for override in overrides if override.startswith("out=")]
    unknown = [override for override in overrides if not override.startswith("out=")]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)} is read by nothing; out=FILE names the page")
    if not folders:
        raise ConfigError("name a run's folder: python -m disvae.report outputs/DATASET/RUN")
    if targets and (len(folders) > 1 or len(targets) > 1 or not targets[0]):
        raise ConfigError("out=FILE is the page of one run")
    runs = [Run(folder) for folder in folders]
    for run in runs:
        if not (run.path / "config.yaml").is_file():
            raise ConfigError(f"{run.path} is no run's folder: it holds no config.yaml")
    from disvae.pictures.run_page import write_page

    for run in runs:
        print(f"Written: {write_page(run, Path(targets[0]) if targets else run.report)}")


def main() -> None:
    """The command line."""
    command(lambda: __doc__ or "", report)


if __name__ == "__main__":
    main()
