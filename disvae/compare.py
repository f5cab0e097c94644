"""Compare runs: a table over seeds with intervals and ranks, a CSV of every run, and a report with figures.

    python -m disvae.compare outputs
    python -m disvae.compare outputs/sprites objective=beta_vae,beta_tc beta=4 metric=[mig/histogram,factor_vae]
    python -m disvae.compare outputs/sweeps/SWEEP.json sort=val/elbo udr=true csv=all.csv report=all.html

PATHs are run folders, folders of runs, records of sweeps. Runs that differ in the seed alone are a group; those of
different datasets are compared apart.

  KNOB=VALUE,...    only the runs whose knob has one of the values: objective=beta_tc, optimizer.lr=1e-3
  metric=[a,b]      columns: scores (mig/histogram), all of a metric (mig) or terms (elbo, kl, val/overlap/entropy)
  by=beta,alpha     the axes that come first: x of the figures, then y of the heat maps
  sort=mig/histogram  what groups are ranked by
  traversals=false  none in the report: they load networks of the best and the median run (seconds to a minute)
  udr=true          which seed UDR chooses without labels, computed where it is missing (minutes: images are encoded)
  csv=FILE report=FILE  where to write; without, results.csv and report.html in the folder that holds the runs, or
                    beside a sweep's record under its name; csv=none, report=none: not at all

Exit status: 2 for what cannot be, 130 and 143 for Ctrl-C and SIGTERM.
"""

import difflib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from disvae.comparison.groups import Comparison, compare
from disvae.comparison.results import Row, collect, typed_value
from disvae.config import ConfigError
from disvae.runs.settings import Setting
from disvae.runs.tags import better, short
from disvae.system.command import command, paths
from disvae.system.imports import loading

log = logging.getLogger(__name__)

OPTIONS = ("metric", "by", "sort", "udr", "traversals", "csv", "report")


def compare_paths(arguments: Sequence[str]) -> None:
    """Compare what the arguments name: print it, write the CSV and the report.

    Raises:
        ConfigError: naming the argument and what to type.
    """
    places, overrides = paths(arguments, "path")
    if not places:
        raise ConfigError("name runs' folders, a folder of runs or a sweep: python -m disvae.compare outputs")
    options, where = _options(overrides)
    targets = {name: _target(name, options.get(name), places) for name in ("csv", "report")}
    with_udr, with_traversals = _flag("udr", options, False), _flag("traversals", options, True)
    rows = collect(places)
    chosen = [tag for name in _list(options.get("metric", "")) for tag in tags_of(name, rows)]
    sort = tags_of(options["sort"], rows)[0] if "sort" in options else next(iter(chosen), None)
    by = _list(options.get("by", ""))
    comparisons = compare(rows, where, chosen, by)
    if not comparisons:
        raise ConfigError(f"no run has all of {', '.join(o for o in overrides if o.partition('=')[0] not in OPTIONS)}")
    if with_udr:
        from disvae.comparison import udr

        print("UDR, where it is missing: each network encodes images, some seconds a run")
        for comparison in comparisons:
            for group, reason in udr.compute(comparison).items():
                log.warning("no UDR of %s: %s", group, reason)
        comparisons = compare(collect(places), where, chosen, by)
    _show(comparisons, chosen, sort, with_udr)
    print()
    if targets["csv"] is not None:
        from disvae.comparison.tables import write_csv

        write_csv(comparisons, targets["csv"])
        print(f"every run and value:  {targets['csv']}")
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
        if not value:
            raise ConfigError(f"{override} says nothing; give {key}=VALUE")
        if key in OPTIONS:
            options[key] = value
        else:
            where[key] = [typed_value(text) for text in _list(value)]
    return options, where


def _list(text: str) -> list[str]:
    """`a,b` or `[a,b]`; a value that is itself a list stays one: `[0.9, 0.999],[0.5, 0.999]`."""
    if re.fullmatch(r"\[[^\[\]\s]*\]", text):
        text = text[1:-1]
    return [part.strip() for part in re.findall(r"\[[^\]]*\]|[^,]+", text) if part.strip()]


def tags_of(name: str, rows: Sequence[Row]) -> list[str]:
    """The tags that a name on the command line stands for: a tag, its short form, or all scores of a metric.

    Raises:
        ConfigError: no run has such a tag.
    """
    known = list(dict.fromkeys(tag for row in rows for tag in row.metrics))
    for tag in (name, f"metric/{name}", f"val/{name}", f"val/overlap/{name}", f"val/structure/{name}"):
        if tag in known:
            return [tag]
    of_metric = [tag for tag in known if tag.startswith((f"metric/{name}/", f"{name}/")) and tag.count("/") == 2]
    if of_metric:
        return of_metric
    names = dict.fromkeys([short(tag) for tag in known] + [tag.split("/")[1] for tag in known if "metric" in tag])
    close = difflib.get_close_matches(name, names, n=3)
    scores = [short(tag) for tag in known if tag.startswith("metric/") and tag.count("/") == 2]
    hint = f"did you mean {' or '.join(close)}?" if close else f"the runs have {', '.join(scores) or 'no scores'}"
    raise ConfigError(f"{name} is no score or term of these runs; {hint}")


def _target(name: str, given: str | None, places: Sequence[Path]) -> Path | None:
    """Where the CSV or the report goes; None for nowhere."""
    if given == "none":
        return None
    if given is not None:
        if not Path(given).absolute().parent.is_dir() or Path(given).is_dir():
            raise ConfigError(f"{name}={given} must be a file in a folder that is there")
        return Path(given)
    if len(places) == 1 and places[0].is_file():
        return places[0].with_suffix({"csv": ".csv", "report": ".html"}[name])
    holding = [place.parent if place.is_file() or (place / "config.yaml").exists() else place for place in places]
    folder = holding[0] if len(set(holding)) == 1 else Path(os.path.commonpath([path.absolute() for path in holding]))
    return folder / {"csv": "results.csv", "report": "report.html"}[name]


def main() -> None:
    """The command line."""
    command(lambda: __doc__ or "", compare_paths)


if __name__ == "__main__":
    main()
