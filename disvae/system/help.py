"""The text of --help, read from the comments of conf/. Imports no torch."""

import re
from collections.abc import Collection
from pathlib import Path

from disvae.config import LISTS, conf_dir, options


def description(path: Path) -> str:
    """The comment an option's file opens with; Hydra's own `# @package` line, where there is one, comes before it."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line.removeprefix("# ")
    return ""


def _knobs(name: str) -> list[str]:
    """A line for each commented knob of conf/NAME.yaml."""
    lines = []
    parent = name if name == "score" else ""
    for line in (conf_dir() / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        knob = re.match(r"(?P<within>  )?(?P<name>\w+):(?: (?P<value>[^#{]+?))?\s+# (?P<said>.+)", line)
        if knob and not knob["within"] and name != "score":
            parent = knob["name"]
        if knob and knob["value"]:
            key = f"{parent}.{knob['name']}" if knob["within"] or name == "score" else knob["name"]
            lines.append(f"  {key + '=' + knob['value']:<23} {knob['said']}")
    return lines


def _group(group: str) -> list[str]:
    """A line for each option of a group."""
    suffix = {"schedule": "@schedule.beta|alpha|capacity=", **dict.fromkeys(LISTS, "=[a,b,...]")}.get(group, "=")
    lines = [f"  {name:<22}{description(conf_dir() / group / f'{name}.yaml')}" for name in options(group)]
    return ["", f"{group}{suffix}", *lines] if lines else []


def score_help(describe: str, without: Collection[str] = (), *, figures: bool = False) -> str:
    """What a scoring command does, its settings but those it goes `without`, metrics and, if it draws, figures."""
    knobs = [line for line in _knobs("score") if line.split("=")[0].strip() not in without]
    lines = [describe.strip(), "", "Settings (name=value):", *knobs, *_group("metric")]
    lines += _group("figure") if figures else []
    lines += ["", "A metric's own settings: metric=[mig] metric.mig.bins=40. In some shells [ and ] need quotes."]
    return "\n".join(lines)


def benchmark_help(describe: str) -> str:
    """What the benchmark does, and its settings."""
    return "\n".join([describe.strip(), "", "Settings (name=value):", *_knobs("benchmark")])


def help_text(program: str) -> str:
    """Every knob, and every group with its options, a line each: read from the comments of conf/."""
    lines = [
        f"{program} trains one disentangled VAE, or with -m a sweep of them.",
        "",
        f"  {program} objective=beta_tc beta=6",
        f"  {program} -m objective=decomposition beta=0.5,1,4 alpha=0,1,10 seed=0,1,2",
        "",
        "Knobs (name=value):",
        *_knobs("config"),
        *_knobs("score"),
    ]
    for group in sorted(path.name for path in conf_dir().iterdir() if path.is_dir()):
        lines += _group(group)
    lines += [
        "",
        "An option's own settings: group.setting=value (objective.gamma=20, prior.df=5, optimizer.lr=1e-3).",
        "Sweeps: -m runs every combination of lists (beta=1,4,10), range(0,5), 'logspace(0,2,9)'; the same command",
        "again does what is left. python -m disvae.status lists jobs, python -m disvae.compare compares their runs.",
        "--cfg job prints the whole configuration; --hydra-help tells more.",
        'Shell completion: eval "$(disvae-train -sc install=bash)"',
    ]
    return "\n".join(lines)
