"""The text of --help, made from the comments in conf/. Imports no torch."""

import re
from collections.abc import Collection
from pathlib import Path

from disvae.config import LISTS, conf_dir, groups, option_files


def description(path: Path) -> str:
    """Return the first comment in the YAML file of an option, without Hydra's own line `# @package`."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line.removeprefix("# ")
    return ""


def _settings(name: str) -> list[str]:
    """Return a line for each setting in conf/NAME.yaml that has a comment."""
    lines = []
    parent = name if name == "score" else ""
    for line in (conf_dir() / f"{name}.yaml").read_text(encoding="utf-8").splitlines():
        found = re.match(r"(?P<within>  )?(?P<name>\w+):(?: (?P<value>[^#{]+?))?\s+# (?P<said>.+)", line)
        if found and not found["within"] and name != "score":
            parent = found["name"]
        if found and found["value"]:
            key = f"{parent}.{found['name']}" if found["within"] or name == "score" else found["name"]
            lines.append(f"  {key + '=' + found['value']:<23} {found['said']}")
    return lines


def _group(group: str) -> list[str]:
    """Return the heading of a group and a line for each of its options."""
    suffix = {"schedule": "@schedule.beta|alpha|capacity=", **dict.fromkeys(LISTS, "=[a,b,...]")}.get(group, "=")
    lines = [f"  {name:<22} {description(path)}" for name, path in sorted(option_files(group).items())]
    return ["", f"{group}{suffix}", *lines] if lines else []


def score_help(describe: str, without: Collection[str] = (), *, figures: bool = False) -> str:
    """Return the help of a scoring command: its settings except those in `without`, metrics and optionally figures."""
    settings = [line for line in _settings("score") if line.split("=")[0].strip() not in without]
    lines = [describe.strip(), "", "Settings (name=value):", *settings, *_group("metric")]
    lines += _group("figure") if figures else []
    lines += ["", "Settings of a metric: metric=[mig] metric.mig.bins=40. Some shells need quotes around [ and ]."]
    return "\n".join(lines)


def benchmark_help(describe: str) -> str:
    """Return the help of the benchmark: its description and settings."""
    return "\n".join([describe.strip(), "", "Settings (name=value):", *_settings("benchmark")])


def help_text(program: str) -> str:
    """Return the help of training: a line for each setting, and for each option of every group."""
    lines = [
        f"{program} trains a disentangled VAE; with -m it trains a sweep of them.",
        "",
        f"  {program} objective=beta_tc beta=6",
        f"  {program} -m objective=decomposition beta=0.5,1,4 alpha=0,1,10 seed=0,1,2",
        "",
        "Settings (name=value):",
        *_settings("config"),
        *_settings("score"),
    ]
    for group in sorted(groups()):
        lines += _group(group)
    lines += [
        "",
        "Settings of an option: GROUP.SETTING=VALUE (objective.gamma=20, prior.df=5, optimizer.lr=1e-3).",
        "Sweeps: -m runs every combination of lists (beta=1,4,10), range(0,5) and 'logspace(0,2,9)'.",
        "To resume an interrupted run or sweep, repeat its command.",
        "List runs with python -m disvae.status; compare them with python -m disvae.compare.",
        "--cfg job prints the whole configuration; --hydra-help explains the options of Hydra.",
        'Shell completion: eval "$(disvae-train -sc install=bash)"',
    ]
    return "\n".join(lines)
