"""The text of --help, made from the comments in conf/. Imports no torch."""

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from disvae.config import FACTS, LISTS, conf_dir, groups, option_files


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


def _named(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Yield the lines on each option that the arguments choose, `objective=factor_vae`: what it is and its settings."""
    for argument in arguments:
        found = re.fullmatch(r"\+?(?P<group>\w+)(?:@(?P<package>[\w.]+))?=(?P<names>.*)", argument)
        if found and found["group"] in groups():
            files = option_files(found["group"])
            for name in re.findall(r"\w+", found["names"]):
                if name in files:
                    typed = f"{argument.partition('=')[0]}={name}"
                    yield [f"{typed}: {description(files[name])}", *_settings_of(files[name], found["package"])]


def _settings_of(path: Path, package: str | None) -> list[str]:
    """Return a line for each setting in the YAML of an option, whose place is `package`, its own or its group's."""
    text = path.read_text(encoding="utf-8")
    own = re.match(r"# @package (\S+)", text)
    place = package or (own[1] if own else path.parent.name)
    lines = []
    for found in re.finditer(r"^(?P<name>[a-z]\w*): +(?P<value>[^#\n]+?)(?: +# (?P<said>.+))?$", text, re.MULTILINE):
        if "${" not in found["value"] and found["name"] not in FACTS:
            key = found["name"] if place == "_global_" else f"{place}.{found['name']}"
            lines.append(f"  {key + '=' + found['value']:<30} {found['said'] or ''}".rstrip())
    return lines or ["  no settings of its own"]


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


def help_text(program: str, arguments: Sequence[str] = ()) -> str:
    """Return the help of training: a line for each setting, and for each option of every group.

    If the arguments choose options, as in `--help objective=factor_vae`, it is about these options alone.
    """
    chosen = list(_named(arguments))
    if chosen:
        return "\n".join(["\n\n".join(map("\n".join, chosen)), "", f"All settings and options: {program} --help"])
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
        "Settings of an option: GROUP.SETTING=VALUE (objective.gamma=20, prior.df=5, optimizer.lr=1e-3);",
        f"{program} --help objective=factor_vae lists those of one option.",
        "Sweeps: -m runs every combination of lists (beta=1,4,10), range(0,5) and 'logspace(0,2,9)'.",
        "To resume an interrupted run or sweep, repeat its command.",
        "List runs with python -m disvae.status; compare them with python -m disvae.compare.",
        "--cfg job prints the whole configuration; --hydra-help explains the options of Hydra.",
        'Shell completion: eval "$(disvae-train -sc install=bash)"',
    ]
    return "\n".join(lines)
