"""Find the best of several settings: train all a little, then the best of them longer.

    python -m disvae.tune objective=beta_tc beta=1..16
    python -m disvae.tune objective=beta_vae beta=1,2,4,8 z_dim=6,10 goal=udr budget=40m seeds=2

Every setting with several values is an axis; beta=1..16 stands for five values. Options of the tuning:

    goal=elbo       what is compared: elbo, udr (agreement of seeds, without labels), or a tag such as
                    metric/mig/histogram or val/structure/total_correlation
    seeds=2         seeds of each candidate
    steps=10000     steps of the best candidates
    budget=40m      instead: as many steps as fit this time on this machine (at most `steps`)
    out=outputs     folder for run folders

A third of the candidates goes on, with three times as many steps, until one is left; runs continue, so nothing is
trained twice. The same command resumes. The ELBO with another beta is lower by design: compare betas by udr or a score.
The exit status is 2 for a wrong argument, 130 for Ctrl-C and 143 for SIGTERM.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from pathlib import Path

from disvae.config import ConfigError
from disvae.runs.atomic import write_atomically
from disvae.system.command import command, option
from disvae.system.imports import loading
from disvae.system.overrides import as_override

TUNINGS = "tune"
SHARE = 0.8
"""Share of the budget that is planned for training; starts, scores and pictures take the rest."""


def tune(arguments: Sequence[str]) -> None:
    """Train the rungs and print the result.

    Raises:
        ConfigError: an argument is wrong, or no candidate has a value of the goal.
    """
    texts = {}
    left = list(arguments)
    for name in ("goal", "seeds", "steps", "budget", "out"):
        texts[name], left = option(left, name)
    with loading():
        from disvae.runs.terminal import console, rich_table
        from disvae.tuning.halving import Candidate, budget_seconds, climb, cost, longest, rungs
        from disvae.tuning.result import how_sure, result_table, winners_command, write_result
        from disvae.tuning.trials import Goal, Trials, axes_of, seconds_of_step

    goal = Goal.of(texts["goal"] or "elbo")
    seeds = _count("seeds", texts["seeds"] or "2", least=2 if texts["goal"] == "udr" else 1)
    most = _count("steps", texts["steps"] or "10000", least=1)
    combinations, fixed = axes_of(left)
    candidates = [Candidate(each) for each in combinations]
    out = Path(texts["out"] or "outputs").expanduser()
    fixed = [*fixed, f"out={as_override(str(out))}"]
    name = hashlib.sha256(json.dumps([*left, goal.tag, seeds, most, texts["budget"]]).encode()).hexdigest()[:8]
    plan = out / TUNINGS / f"{name}.plan.json"
    if texts["budget"] is not None and plan.is_file():
        top = _stored(plan)
    elif texts["budget"] is not None:
        budget = budget_seconds(texts["budget"])
        of_step = seconds_of_step(Trials(fixed, seeds, 1, goal), candidates[0])
        top = longest(len(candidates), SHARE * budget / of_step / seeds, most)
        plan.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(plan, json.dumps({"steps": top}) + "\n")
        print(f"A step takes {of_step:.3g} s here: the last runs get about {top:,} steps")
    else:
        top = most
    steps = rungs(len(candidates), top)
    print(
        f"{len(candidates)} candidates, {seeds} seeds, rungs of {', '.join(f'{of:,}' for of in steps)} steps: "
        f"{cost(len(candidates), steps) * seeds:,} steps in all"
    )
    trials = Trials(fixed, seeds, steps[0], goal)
    began = time.monotonic()
    ranked = climb(candidates, steps, trials.train, goal.sign)
    full = -(-most // steps[0]) * steps[0]  # a multiple of the steps between validations, so that the run continues
    last = winners_command([o for o in fixed if o != "out=outputs"], ranked[0], steps[0], max(full, steps[-1]))
    picture = write_result(out / TUNINGS, name, ranked, steps, goal.tag, last)
    screen = console()
    screen.print(rich_table(result_table(ranked, steps, goal.tag)))
    screen.print(f"best: {ranked[0].name}; {how_sure(ranked)}", highlight=False)
    screen.print(f"Time:     {(time.monotonic() - began) / 60:.1f} minutes", highlight=False)
    screen.print(f"Picture:  {picture}", highlight=False, soft_wrap=True)
    screen.print(f"Train it to the end:  {last}", highlight=False, soft_wrap=True)


def _count(name: str, text: str, least: int) -> int:
    if not text.isdigit() or int(text) < least:
        raise ConfigError(f"{name} must be a whole number >= {least}, got {text!r}")
    return int(text)


def _stored(plan: Path) -> int:
    try:
        return int(json.loads(plan.read_text(encoding="utf-8"))["steps"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{plan} is not readable ({error}): delete it") from error


def main() -> None:
    """Run the command line of tuning."""
    command(lambda: __doc__ or "", tune, kept="trained")


if __name__ == "__main__":
    main()
