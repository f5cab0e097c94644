"""Every picture has matplotlib's default style, whatever the user's matplotlibrc or notebook has set."""

import re

import matplotlib
import pytest
from torch.utils.tensorboard import SummaryWriter

from disvae.comparison.groups import compare, estimate
from disvae.comparison.report import write_report
from disvae.comparison.row import Row
from disvae.config import resolved
from disvae.experiment.recipe import Recipe
from disvae.pictures.run_page import write_page
from disvae.pictures.schedule_preview import preview_schedules
from disvae.runs.folder import Run
from disvae.tuning.halving import Candidate
from disvae.tuning.result import write_result

DARK = {"text.color": "red", "axes.labelcolor": "red", "axes.facecolor": "black", "figure.facecolor": "black"}


def page_of_a_run(composed, folder):
    run = Run(folder)
    run.create(resolved(composed("steps=200")), {})
    run.mark("finished", 200)
    run.save_metrics({"val/elbo": -5.0})
    with SummaryWriter(str(folder)) as writer:
        for step in (100, 200):
            writer.add_scalar("val/elbo", -1000 / step, step)
    return write_page(run, run.report)


def report(composed, folder):
    settings = [{"beta": beta, "alpha": alpha, "seed": 0.0} for beta in (1.0, 2.0) for alpha in (0.0, 3.0)]
    values = {"val/elbo": -9.0, "val/reconstruction": 8.0, "val/kl": 1.0, "metric/mig/histogram": 0.1}
    rows = [Row(repr(each), None, "finished", settings=each, metrics=values) for each in settings]
    write_report(compare(rows), folder / "report.html", with_traversals=False)
    return folder / "report.html"


def page_of_a_recipe(composed, folder):
    claims = {"y": {"says": "the value of y", "of": "y", "band": [1, 3], "exact": True, "source": "memory"}}
    recipe = Recipe(claims=claims, cost="no time")
    recipe.exact = lambda: {"y": 2.0}
    recipe.conclude("plain", folder, [])
    return folder / "recipes" / "plain.html"


def result_of_a_tuning(composed, folder):
    ranked = [Candidate(("beta=1",), [estimate([1.0, 2.0])]), Candidate(("beta=2",), [estimate([0.0, 1.0])])]
    return write_result(folder, "tuning", ranked, [10], "val/elbo", "")


def preview(composed, folder):
    preview_schedules(composed("schedule@schedule.beta=linear"), folder)
    return folder / "schedule.png"


@pytest.mark.parametrize("made", [page_of_a_run, report, page_of_a_recipe, result_of_a_tuning, preview])
def test_a_users_own_style_changes_no_picture(made, composed, tmp_path):
    def pictures(folder):
        folder.mkdir()
        content = made(composed, folder).read_bytes()
        return re.findall(rb"data:image/[^\"]+", content) if content.startswith(b"<") else [content]

    plain = pictures(tmp_path / "plain")
    with matplotlib.rc_context(DARK):
        dark = pictures(tmp_path / "dark")
        assert matplotlib.rcParams["text.color"] == "red"
    assert plain
    assert dark == plain
