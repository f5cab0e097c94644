"""Tables of runs for pandas."""

from pathlib import Path
from typing import TYPE_CHECKING

from disvae.comparison.results import collect
from disvae.system.imports import require

if TYPE_CHECKING:
    import pandas


def runs(*paths: str | Path) -> "pandas.DataFrame":
    """Return a row for each run below `paths`: run folders, folders of runs, records of sweeps; by default `outputs`.

    The columns are name, state and step of the run, its settings, its final terms and scores with their standard
    errors (`_se`), the reason of a failure (`error`) and its `folder`. They have the names of results.csv.

    Raises:
        ConfigError: pandas is not installed, a path does not exist, or no run is found.
    """
    require("pandas", "disvae.runs")
    import pandas

    rows = []
    for row in collect([Path(path) for path in paths] or [Path("outputs")]):
        about = {"name": row.name, "state": row.state, "step": row.step}
        errors = {f"{tag}_se": error for tag, error in row.errors.items()}
        place = {"error": row.error, "folder": None if row.path is None else str(row.path)}
        rows.append(about | row.settings | row.metrics | errors | place)
    return pandas.DataFrame(rows)
