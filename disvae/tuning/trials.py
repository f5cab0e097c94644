"""The runs of a tuning: candidates from the axes that were typed, their sweeps, and their values of the goal."""

import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from disvae.api.training import job_of
from disvae.comparison import udr
from disvae.comparison.groups import compare, estimate
from disvae.comparison.row import of_run
from disvae.config import ConfigError
from disvae.runs.tags import better
from disvae.sweep.axes import expand
from disvae.system import machine
from disvae.system.overrides import as_override
from disvae.tuning.halving import Candidate

QUIET = ("metric=[]", "figure=[]", "final_figures=[]", "report=false")
"""Settings of all runs of a tuning, which take time and change nothing that is compared."""

POINTS = 5
"""How many values `beta=1..16` stands for."""


def axes_of(arguments: Sequence[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the combinations of the arguments with several values, and the other arguments; `1..16` is an axis, too.

    Raises:
        ConfigError: no argument has several values, or one sets what the tuning sets itself.
    """
    written = [expand(re.sub(r"=([\d.eE+-]+?)\.\.([\d.eE+-]+)$", rf"=geomspace(\1,\2,{POINTS})", a)) for a in arguments]
    own = {text.partition("=")[0] for text in QUIET} | {"final", "seed", "eval_every", "optimize", "zip"}
    axes, fixed = [], []
    for text in written:
        key = text.lstrip("+~").partition("=")[0]
        if key in own:
            raise ConfigError(f"{text}: tune sets {key} itself; leave it out")
        parsed = OverridesParser.create().parse_override(text)
        if parsed.is_sweep_override():
            axes.append([f"{parsed.get_key_element()}={value}" for value in parsed.sweep_string_iterator()])
        else:
            fixed.append(text)
    if not axes:
        raise ConfigError("nothing to choose from: give a setting several values, as in beta=1,2,4,8 or beta=1..16")
    return [tuple(each) for each in itertools.product(*axes)], fixed


@dataclass(frozen=True)
class Goal:
    """What is tuned for: the tag of a term or score, or the agreement of seeds by UDR."""

    tag: str

    @classmethod
    def of(cls, text: str) -> "Goal":
        """Return the goal `elbo`, `udr`, or a tag such as `metric/mig/histogram`.

        Raises:
            ConfigError: the tag has no better end.
        """
        tag = {"elbo": "val/elbo", "udr": udr.TAG}.get(text, text)
        if not tag.startswith(("metric", "val/")) or not better(tag):
            raise ConfigError(
                f"goal must be elbo, udr, or a tag with a better end such as metric/mig/histogram, got {text!r}"
            )
        return cls(tag)

    @property
    def sign(self) -> int:
        """Return 1 if higher values are better, else -1."""
        return better(self.tag)

    @property
    def final(self) -> str:
        """Return the setting that computes the goal at the end of each run."""
        stage, name, *_ = self.tag.split("/")
        return f"final=[{name.partition('-')[0]}]" if stage == "metric" else "final=[]"


@dataclass(frozen=True)
class Trials:
    """The sweeps of a tuning. `fixed` are the settings of all runs, `every` the steps between validations."""

    fixed: Sequence[str]
    seeds: int
    every: int
    goal: Goal

    def overrides(self, candidate: Candidate, steps: int) -> list[str]:
        """Return the settings of a candidate's runs, without the seed."""
        return [
            *self.fixed,
            *QUIET,
            self.goal.final,
            f"eval_every={self.every}",
            f"steps={steps}",
            *candidate.overrides,
        ]

    def train(self, candidates: Sequence[Candidate], steps: int) -> None:
        """Train all seeds of the candidates to a number of steps, and add a value of the goal to each, or a reason."""
        common = [o for o in self.overrides(candidates[0], steps) if o not in candidates[0].overrides]
        keys = [override.partition("=")[0] for override in candidates[0].overrides]
        axes = [
            f"{key}={','.join(each.overrides[i].partition('=')[2] for each in candidates)}"
            for i, key in enumerate(keys)
        ]
        zipped = [f"zip=[{','.join(keys)}]"] if len(keys) > 1 and len(candidates) > 1 else []
        seeds = f"seed={','.join(map(str, range(self.seeds)))}"
        _sweep([*common, *axes, *zipped, seeds])  # a job that fails is a reason below
        for candidate in candidates:
            self._judge(candidate, steps)

    def _judge(self, candidate: Candidate, steps: int) -> None:
        runs = [job_of([*self.overrides(candidate, steps), f"seed={seed}"]).run for seed in range(self.seeds)]
        rows = [of_run(run) for run in runs]
        if self.goal.tag == udr.TAG:
            for reason in udr.compute(compare(rows)[0]).values() if all(r.state == "finished" for r in rows) else ():
                candidate.reason = reason
            rows = [of_run(run) for run in runs]
        values = [
            row.metrics[self.goal.tag] for row in rows if row.state == "finished" and self.goal.tag in row.metrics
        ]
        if values:
            candidate.values.append(estimate(values, self.goal.tag))
            candidate.folders = tuple(str(run.path) for run in runs)
        else:
            errors = [row.error.splitlines()[0] for row in rows if row.error]
            candidate.reason = candidate.reason or next(iter(errors), f"no run has {self.goal.tag}")


PILOT = 60
"""Steps of the runs whose time says how many steps a budget buys."""


def seconds_of_step(trials: Trials, candidate: Candidate) -> float:
    """Return the time of a training step on this machine, from short runs that are not kept.

    As many are trained at once as in a sweep, and the time is divided by their number: a run alone has all cores, and
    several have them one by one.
    """
    asked = next((o.partition("=")[2] for o in reversed(trials.fixed) if o.startswith("launcher.processes=")), "auto")
    at_once = machine.processes(int(asked) if asked.isdigit() else "auto")
    with tempfile.TemporaryDirectory() as out:
        where = f"out={as_override(out)}"
        few = ["final=[]", f"eval_every={PILOT}", f"steps={PILOT}", "eval_images=100", where, "force=false"]
        fixed = [o for o in trials.fixed if not o.startswith(("out=", "steps="))]
        of_run = [*fixed, *QUIET, *few, *candidate.overrides]
        done = _sweep([*of_run, f"seed={','.join(map(str, range(at_once)))}"], capture_output=True)
        runs = [job_of([*of_run, f"seed={seed}"]).run for seed in range(at_once)]
        spent = [run.provenance()["sessions"][-1]["seconds"]["training"] for run in runs if run.finished()]
    if not spent:
        said = done.stderr.decode().strip() or done.stdout.decode().strip()
        raise ConfigError(f"{candidate.name} cannot be timed: {said}")
    return float(max(spent)) / PILOT / len(spent)


def _sweep(overrides: Sequence[str], **how: Any) -> subprocess.CompletedProcess[Any]:
    """Run a sweep as a command of its own; end with it if it was refused or interrupted."""
    done = subprocess.run([sys.executable, "-m", "disvae.train", "-m", *overrides], check=False, **how)
    if done.returncode >= 128 or done.returncode == 2:
        sys.stderr.write((done.stderr or b"").decode())
        sys.exit(done.returncode)
    return done
