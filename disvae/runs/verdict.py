"""What the results of a run mean, in three sentences: is it trained, is it disentangled, what to try next.

Imports no torch.
"""

import math
import re
import shlex
from collections.abc import Mapping
from typing import Any

from disvae.config import facts
from disvae.runs.folder import Run
from disvae.runs.settings import WEIGHTS, flat_settings
from disvae.runs.tags import main_term, main_value

BALANCED = (0.55, 0.95)
"""Shares of images that a balanced discriminator tells right; outside, one side of a GAN does not learn any more."""

RISING = 0.02
"""An ELBO still rises if the last quarter of the steps brought more than this share of its whole gain."""

SHORT = 5_000
"""A run of fewer steps may look collapsed only because its latents are not in use yet."""

LOWER = {"beta": 4, "objective.gamma": 10}
"""By what a weight is divided that may have made a run collapse."""

_MODEL = "model"
"""Name of the source in scores.json that is no baseline."""


def verdict(run: Run) -> list[str]:
    """Return one sentence each on training, on disentanglement, and on what to try next, for a run with final terms.

    An unbalanced GAN has one more.
    """
    config, metrics = run.config(), run.metrics()
    gain = _late_gain(run)
    rising = gain is not None and gain[0] > RISING * gain[1]
    above, others = compared(run.scores().get("metric", {}))
    return [
        _training(config, metrics, gain, rising),
        *_balance(metrics),
        _disentanglement(metrics, above, others),
        _advice(config, metrics, rising, bool(above)),
    ]


def collapsed(metrics: Mapping[str, float]) -> bool:
    """Return whether no latent is active, so that the codes say nothing about the images."""
    return round(metrics.get("val/active_units", 1)) == 0


def suspects(config: Mapping[str, Any]) -> list[str]:
    """Return the two settings that most likely made a run collapse, `NAME=VALUE`, with what to try where it is known.

    They are the first weight of the objective and its warm-up; without these the width of p(x|z) and the step size.
    """
    settings = flat_settings(config)
    own = [name for name in settings if re.fullmatch(r"objective\.\w+(\.value)?", name) and name[10:] not in settings]
    numbers = {name: value for name, value in settings.items() if isinstance(value, float)}
    weights = [name for name in (*WEIGHTS, *own) if numbers.get(name, 0) > 0 and name != "capacity"]  # C is a target
    found = []
    for name in weights[:1]:
        hint = f" (try {name}={numbers[name] / LOWER[name]:g})" if name in LOWER else ""
        found.append(f"{name.removesuffix('.value')}={numbers[name]:g}{hint}")
        if settings.get(f"schedule.{name}") == "constant":
            found.append(f"schedule@schedule.{name}=constant (try linear, a warm-up)")
    others = [f"schedule.{name}.until" for name in weights[:1]] + ["likelihood.scale", "optimizer.lr", "batch_size"]
    return [*found, *(f"{name}={numbers[name]:g}" for name in others if name in numbers)][:2]


def compared(entries: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the headline scores that exceed all baselines by more than the intervals, and the other ones.

    `entries` has the structure of one stage of scores.json. A metric's YAML names its headline score. A metric counts
    once, with its usual settings if it was computed with them.
    """
    above: list[str] = []
    others: list[str] = []
    counted = set()
    for label, entry in sorted(entries.items(), key=lambda item: "-" in item[0]):  # mig-bins40 comes after mig
        metric = label.partition("-")[0]
        name = (facts("metric", metric) or {}).get("headline")
        sources = entry["scores"].get(name, {})
        if metric in counted or _MODEL not in sources or len(sources) < 2:
            continue
        counted.add(metric)
        highest = max(_end(of, "high") for source, of in sources.items() if source != _MODEL)
        (above if _end(sources[_MODEL], "low") > highest else others).append(f"{label}/{name}")
    return above, others


def _end(score: Mapping[str, float | None], end: str) -> float:
    """Return an end of the interval of a score, or its value if it has no interval."""
    found = score["value"] if score.get(end) is None else score[end]
    return -math.inf if found is None else found


def _late_gain(run: Run) -> tuple[float, float] | None:
    """Return the gain in the main term over the last quarter of the steps and over all; None below four values."""
    from disvae.runs.curves import curves  # with numpy, which a command that only looks need not wait for

    elbo = curves(run.path).get(f"val/{main_term(run.metrics())}")
    if elbo is None or len(elbo.steps) < 4:
        return None
    before = elbo.values[elbo.steps <= 0.75 * elbo.steps[-1]]
    if not len(before):
        return None
    return float(elbo.values[-1] - before[-1]), float(elbo.values[-1] - elbo.values[0])


def _training(
    config: Mapping[str, Any], metrics: Mapping[str, float], gain: tuple[float, float] | None, rising: bool
) -> str:
    if collapsed(metrics):
        return "Collapsed: none of the latents is active, so the codes say nothing about the images."
    latents = ""
    if "val/active_units" in metrics:  # a posterior may have no mean
        active = round(metrics["val/active_units"])
        latents = f"; {active} of {config['z_dim']} latents are active (variance of their mean over images above 0.01)"
    name = main_term(metrics)
    elbo = f"the validation {main_value(metrics).replace(' ', ' is ')} nats"
    if name is not None and f"val/{name}_ceiling" in metrics:
        elbo += f" of at most {metrics[f'val/{name}_ceiling']:.4g}"
    if gain is None:
        return f"Trained for {config['steps']:,} steps: {elbo}{latents}."
    change = f"{abs(gain[0]):.2g} nats {'more' if gain[0] > 0 else 'less'} than at three quarters of the steps"
    return f"{'Not trained to the end' if rising else 'Trained'}: {elbo}, {change}{latents}."


def _balance(metrics: Mapping[str, float]) -> list[str]:
    """Return a sentence on a discriminator of images that has lost or won against the generator, if there is one."""
    real, generated = (metrics.get(f"val/accuracy_on_{kind}") for kind in ("real", "generated"))
    if real is None or generated is None or BALANCED[0] <= (right := (real + generated) / 2) <= BALANCED[1]:
        return []
    ahead, change = ("generator", "higher") if right < BALANCED[0] else ("discriminator", "lower")
    return [
        f"Unbalanced, the {ahead} is ahead: the discriminator tells {right:.0%} of the images right ({real:.0%} of the "
        f"real ones, {generated:.0%} of the generated), outside {BALANCED[0]:.0%} to {BALANCED[1]:.0%}: try a {change} "
        "objective.discriminator_lr."
    ]


def _disentanglement(metrics: Mapping[str, float], above: list[str], others: list[str]) -> str:
    if collapsed(metrics):
        return "Not disentangled: there is nothing to disentangle."
    if not above and not others:
        return "Disentanglement is not known: no headline score was computed (these need factors of variation)."
    count = f"{len(above)} of {len(above) + len(others)} headline scores"
    if not above:
        return f"Not disentangled: none of {len(others)} headline scores exceeds all baselines ({', '.join(others)})."
    rest = f"; not by {', '.join(others)}" if others else ""
    word = "Disentangled" if len(above) > len(others) else "Partly disentangled"
    return f"{word}: {count} exceed all baselines by more than the intervals: {', '.join(above)}{rest}."


def _advice(config: Mapping[str, Any], metrics: Mapping[str, float], rising: bool, disentangled: bool) -> str:
    settings = flat_settings(config)
    beta = settings.get("beta")
    if collapsed(metrics):
        steps, ways = config["steps"], []
        for name, by in LOWER.items():
            weight = settings.get(name)
            if isinstance(weight, float) and weight > 0:
                warm_up = " or schedule@schedule.beta=linear (a warm-up)" if name == "beta" else ""
                ways.append(f"{name}={weight / by:g}{warm_up}")
        if rising or steps < SHORT or not ways:
            ways.insert(0, f"steps={max(2 * steps, SHORT)}, because short runs look like this, too")
        return f"Next: try {'; if that is not enough, '.join(ways)}."
    if rising:
        return f"Next: train longer, steps={2 * config['steps']}."
    axes = ["seed=0,1,2"]
    if isinstance(beta, float) and beta > 0 and not disentangled:
        axes.insert(0, f"beta={beta / 2:g},{beta:g},{2 * beta:g}")
    return f"Next: one seed says little; repeat the command with -m and {shlex.join(axes)}, then compare."
