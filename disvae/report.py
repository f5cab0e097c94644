"""Write an HTML page about a run: its pictures, curves, terms, scores and configuration.

    python -m disvae.report outputs/sprites/RUN
    python -m disvae.report run=outputs/sprites/RUN out=page.html

Every finished run has this page as report.html in its folder; this command also writes it for an unfinished run.
The page shows the pictures in the folder figures/; draw more with python -m disvae.evaluate RUN figure=[...].
The exit status is 2 for a wrong argument.
"""

from collections.abc import Sequence

from disvae.config import ConfigError
from disvae.runs.folder import Run
from disvae.system.command import command, paths, target
from disvae.system.plugins import check_plugins, plugins_of


def report(arguments: Sequence[str]) -> None:
    """Write the pages of the runs in the arguments.

    Raises:
        ConfigError: an argument is wrong, or a page cannot be written.
    """
    folders, overrides = paths(arguments, "run")
    targets = [target(override, "out") for override in overrides if override.startswith("out=")]
    unknown = [override for override in overrides if not override.startswith("out=")]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)} is not an option; the only option is out=FILE")
    if not folders:
        raise ConfigError("name the folder of a run: python -m disvae.report outputs/DATASET/RUN")
    if targets and (len(folders) > 1 or len(targets) > 1):
        raise ConfigError("out=FILE works with one run only: name one run and one file")
    runs = [Run(folder) for folder in folders]
    for run in runs:
        if not (run.path / "config.yaml").is_file():
            raise ConfigError(f"{run.path} is not the folder of a run: config.yaml is missing")
        check_plugins(plugins_of(run.config()), run.path)
    from disvae.pictures.run_page import write_page

    for run in runs:
        print(f"Written: {write_page(run, targets[0] if targets else run.report)}")


def main() -> None:
    """Run the command line that writes pages."""
    command(lambda: __doc__ or "", report)


if __name__ == "__main__":
    main()
