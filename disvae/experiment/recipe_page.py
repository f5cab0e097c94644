"""The page of a recipe: its table of claims, each value beside its band, and the picture of the experiment."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from disvae.experiment.claims import INSIDE, OUTSIDE, Finding, findings_table
from disvae.pictures.html import Panels, picture, render
from disvae.pictures.style import COLOURS
from disvae.runs.atomic import write_atomically

VERDICT_COLOURS = {INSIDE: COLOURS[2], OUTSIDE: COLOURS[1]}
"""Colours of the verdicts that decide; the others are grey."""


def write_recipe_page(
    path: Path, facts: Mapping[str, Any], findings: Mapping[str, Finding], own: Figure | None
) -> None:
    """Write the page of a recipe; `own` is the picture that the experiment draws, if it has one.

    Raises:
        ConfigError: the file cannot be written.
    """
    pictures = [picture(own, f"the picture of {facts['recipe']}", pixels=True)] if own is not None else []
    if any(finding.values and finding.claim.band is not None for finding in findings.values()):
        pictures.append(picture(draw_bands(findings), "each value beside its band"))
    content = {"claims": findings_table(findings), "pictures": Panels(pictures)}
    page = render("experiment/recipe.html.jinja", title=f"{facts['recipe']}: claims", facts=facts, sections=content)
    write_atomically(path, page)


def draw_bands(findings: Mapping[str, Finding]) -> Figure:
    """Draw a row for each claim with a band: the band in grey, each seed as a dot, the mean with its interval."""
    shown = [one for one in findings.values() if one.values and one.claim.band is not None]
    figure = Figure(figsize=(7.0, 0.62 * len(shown) + 0.3), layout="constrained")
    for axes, one in zip(figure.subplots(len(shown), 1, squeeze=False)[:, 0], shown, strict=True):
        of, band = one.estimate, one.claim.ends
        assert of is not None
        assert band is not None
        ends = [end for end in (*band, *of.values, of.low, of.high) if end is not None and abs(end) < float("inf")]
        room = 0.15 * (max(ends) - min(ends)) or 0.1 * abs(ends[0]) or 1.0
        axes.set_xlim(min(ends) - room, max(ends) + room)
        axes.set_ylim(-1, 1)
        left, right = axes.get_xlim()
        axes.axvspan(max(band[0], left), min(band[1], right), color="0.88")
        colour = VERDICT_COLOURS.get(one.verdict, "0.45")
        axes.plot(of.values, [0.0] * of.n, "o", color=colour, alpha=0.5, markersize=4)
        if of.low is not None and one.claim.per == "mean":
            axes.plot([of.low, of.high], [0, 0], color=colour, linewidth=2)
        axes.plot([of.mean], [0], "D", color=colour, markersize=6)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        axes.spines[["top", "left", "right"]].set_visible(False)
        axes.set_title(one.claim.says, fontsize=8, loc="left", pad=2)
    return figure
