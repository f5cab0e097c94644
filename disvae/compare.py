"""Compare runs: a ranked table with confidence intervals over seeds, a CSV of all runs, and a report with figures.

    python -m disvae.compare outputs
    python -m disvae.compare outputs/sprites objective=beta_vae,beta_tc beta=4 'metric=[mig/histogram,factor_vae]'
    python -m disvae.compare outputs/sweeps/SWEEP.json sort=val/elbo udr=true csv=all.csv report=all.html

A path is a run folder, a folder of runs, or the record of a sweep. Runs that differ only in the seed form a group. Runs
of different datasets are compared separately.

  SETTING=VALUE,...   compare only runs with one of these values: objective=beta_tc, optimizer.lr=1e-3
  tags=a,b            compare only runs with one of these tags
  metric=[a,b]        columns: a score (mig/histogram), all scores of a metric (mig), or terms (elbo, kl)
  by=beta,alpha       settings on the axes: x of the figures, then y of the heat maps
  sort=mig/histogram  the score that ranks the groups
  traversals=false    leave out traversals, which load the networks of the best and the median run (up to a minute)
  udr=true            show which seed UDR selects without labels; missing UDR scores are computed (minutes)
  csv=FILE            where to write all values (none or false: not at all); default: results.csv beside the runs
  report=FILE         where to write the report (none or false: not at all); default: report.html beside the runs

The default files for the record of a sweep are beside the record and have its name. The exit status is 2 for a wrong
argument, 130 for Ctrl-C and 143 for SIGTERM.
"""

import difflib
import gc
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from disvae.comparison.groups import Comparison, compare
from disvae.comparison.results import collect, typed_value
from disvae.comparison.row import Row
from disvae.config import ConfigError
from disvae.runs.settings import Setting
from disvae.runs.tags import better, short
from disvae.system.command import command, paths, target
from disvae.system.imports import loading
from disvae.system.plugins import check_plugins

log = logging.getLogger(__name__)

OPTIONS = ("tags", "metric", "by", "sort", "udr", "traversals", "csv", "report")


def compare_paths(arguments: Sequence[str]) -> None:
    """Compare the runs in the arguments: print a table, write the CSV and the report.

    Raises:
        ConfigError: an argument is wrong; the message says what to type.
    """
    places, overrides = paths(arguments, "path")
    if not places:
        raise ConfigError("name run folders, a folder of runs or a sweep's record: python -m disvae.compare outputs")
    options, where = _options(overrides)
    targets = {name: _target(name, options.get(name), places) for name in ("csv", "report")}
    with_udr, with_traversals = _flag("udr", options, False), _flag("traversals", options, True)
    rows = collect(places, tags := _list(options.get("tags", "")))
    gc.freeze()  # the rows live to the end, and with thousands of them every garbage collection would walk through them
    for row in rows:
        check_plugins(row.plugins, row.path or Path(row.name))
    chosen = [tag for name in _list(options.get("metric", "")) for tag in tags_of(name, rows)]
    sort = tags_of(options["sort"], rows)[0] if "sort" in options else next(iter(chosen), None)
    by = _list(options.get("by", ""))
    comparisons = compare(rows, where, chosen, by)
    if not comparisons:
        raise ConfigError(f"no run has all of {', '.join(o for o in overrides if o.partition('=')[0] not in OPTIONS)}")
    if with_udr:
        from disvae.comparison import udr

        print("Computing missing UDR scores: each network encodes images, which takes some seconds")
        for comparison in comparisons:
            for group, reason in udr.compute(comparison).items():
                log.warning("UDR of %s is not available: %s", group, reason)
        comparisons = compare(collect(places, tags), where, chosen, by)
    _show(comparisons, chosen, sort, with_udr)
    print()
    if targets["csv"] is not None:
        from disvae.comparison.tables import write_csv

        write_csv(comparisons, targets["csv"])
        print(f"all runs and values:  {targets['csv']}")
    if targets["report"] is not None:
        with loading():
            from disvae.comparison.report import write_report

        write_report(comparisons, targets["report"], sort=sort, with_traversals=with_traversals)
        print(f"report with figures:  {targets['report']}")


def _show(comparisons: Sequence[Comparison], chosen: Sequence[str], sort: str | None, with_udr: bool) -> None:
    from disvae.comparison.tables import main_tag, print_choices, print_comparison
    from disvae.runs.terminal import console

    screen = console()
    for comparison in comparisons:
        print_comparison(comparison, chosen, sort, screen)
        judge = main_tag(comparison, sort if sort is not None and better(sort) else None)
        if with_udr and judge is not None:
            print_choices(comparison, judge, screen)


def _flag(name: str, options: Mapping[str, str], default: bool) -> bool:
    value = options.get(name, str(default).lower())
    if value not in ("true", "false"):
        raise ConfigError(f"{name} must be true or false, got {value}")
    return value == "true"


def _options(overrides: Sequence[str]) -> tuple[dict[str, str], dict[str, list[Setting]]]:
    options: dict[str, str] = {}
    where: dict[str, list[Setting]] = {}
    for override in overrides:
        key, _, value = override.partition("=")
        if not key or not value:
            raise ConfigError(f"{override} lacks a name or a value; type {key or 'SETTING'}=VALUE")
        if key in OPTIONS:
            options[key] = value
        else:
            where[key] = [typed_value(text) for text in _list(value)]
    return options, where


def _list(text: str) -> list[str]:
    """Return the values in `a,b` or `[a,b]`; a value may be a list itself: `[0.9, 0.999],[0.5, 0.999]`."""
    if re.fullmatch(r"\[[^\[\]\s]*\]", text):
        text = text[1:-1]
    return [part.strip() for part in re.findall(r"\[[^\]]*\]|[^,]+", text) if part.strip()]


def tags_of(name: str, rows: Sequence[Row]) -> list[str]:
    """Return the tags of a name on the command line: a tag, a short form of a tag, or all scores of a metric.

    Raises:
        ConfigError: no run has a tag of this name.
    """
    known = list(dict.fromkeys(tag for row in rows for tag in row.metrics))
    for tag in (name, f"metric/{name}", f"val/{name}", f"val/overlap/{name}", f"val/structure/{name}"):
        if tag in known:
            return [tag]
    stages = (f"metric/{name}/", f"metric-runs/{name}/", f"{name}/")
    of_metric = [tag for tag in known if tag.startswith(stages) and tag.count("/") == 2]
    if of_metric:
        return of_metric
    names = dict.fromkeys([short(tag) for tag in known] + [tag.split("/")[1] for tag in known if "metric" in tag])
    close = difflib.get_close_matches(name, names, n=3)
    scores = [short(tag) for tag in known if tag.startswith("metric/") and tag.count("/") == 2]
    hint = f"did you mean {' or '.join(close)}?" if close else f"the runs have {', '.join(scores) or 'no scores'}"
    raise ConfigError(f"{name} is not a score or term of these runs; {hint}")


def _target(name: str, given: str | None, places: Sequence[Path]) -> Path | None:
    """Return the path of the CSV or the report, or None if it is not wanted."""
    if given in ("none", "false"):  # training has report=false
        return None
    if given is not None:
        return target(f"{name}={given}", name)
    if len(places) == 1 and os.path.isfile(places[0]):
        return places[0].with_suffix({"csv": ".csv", "report": ".html"}[name])
    holding = [
        place.parent if os.path.isfile(place) or os.path.exists(place / "config.yaml") else place for place in places
    ]
    folder = holding[0] if len(set(holding)) == 1 else Path(os.path.commonpath([path.absolute() for path in holding]))
    return folder / {"csv": "results.csv", "report": "report.html"}[name]


def main() -> None:
    """Run the command line that compares runs."""
    command(lambda: __doc__ or "", compare_paths)


if __name__ == "__main__":
    main()
