"""One page of a run, of what its folder holds, whatever that is."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.tensorboard import SummaryWriter

from disvae.config import ConfigError, resolved
from disvae.pictures.run_page import _chart, write_page
from disvae.report import report
from disvae.runs.curves import Curve
from disvae.runs.folder import Run


class Page(HTMLParser):
    """What a page shows."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.content = content
        self.text = ""
        self.images: list[dict[str, str | None]] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.elements: list[tuple[str, tuple[str, ...]]] = []
        self.ids: list[str | None] = []
        self.feed(content)

    def handle_starttag(self, tag, attrs):
        self.attributes += attrs
        self.elements.append((tag, tuple(name for name, _ in attrs)))
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "img":
            self.images.append(dict(attrs))

    def handle_data(self, data):
        self.text += data


def png(colour):
    file = io.BytesIO()
    Image.new("RGB", (4, 3), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def run(composed, tmp_path) -> Run:
    """A run's folder with a value of each kind that can be recognised."""
    run = Run(tmp_path / "beta=4<b>-run")
    run.path.mkdir()
    session = {"command": "disvae-train beta=4", "git_commit": "c0ffee", "packages": {"torch": "9.9"}, "threads": 3}
    run.create(resolved(composed("beta=4", "steps=300")), {"sessions": [session]})
    run.mark("finished", 300)
    run.save_metrics(
        {
            "val/elbo": -123.4,
            "val/reconstruction": 100.25,
            "val/kl": 23.15,
            "val/kl_per_dimension/00": 1.0,
            "val/structure/total_correlation": 1.5,
            "val/structure/total_correlation_se": 0.1,
            "val/overlap/mutual_information": 5.0,
            "val/overlap/mutual_information_limit": 9.2,
            "val/active_units": 4.0,
        }
    )
    model = {"value": 0.25, "se": 0.01, "low": 0.23, "high": 0.27}
    entry = {
        "scores": {"histogram": {"model": model, "untrained": {**model, "value": 0.015}}},
        "chance": {"histogram": 0.0003},
        "failed": {"pca": "no <such> thing"},
        "settings": {"_target_": "disvae.metric.mig.MIG", "bins": 20},
        "protocol": {"samples": 1000, "population": 5000, "images": "validation", "codes": "mean", "step": 300},
    }
    run.save_scores({"metric": {"mig": entry}})
    run.figures.mkdir()
    (run.figures / "traversal.png").write_bytes(png("red"))
    (run.figures / "reconstruction-images4.png").write_bytes(png("blue"))
    with SummaryWriter(str(run.path)) as writer:
        for step in (100, 200, 300):
            writer.add_scalar("val/elbo", -1000 / step, step)
            writer.add_scalar("train/elbo", -1100 / step, step)
            writer.add_scalar("val/beta", 4.0, step)
            writer.add_scalar("metric/mig/histogram", step / 1000, step)
            writer.add_scalar("metric/mig/histogram/shape", 0.0, step)
    return run


def written(run: Run) -> Page:
    return Page(write_page(run, run.report).read_text(encoding="utf-8"))


def test_the_name_of_a_picture_is_text(run):
    (run.figures / 'scatter"><i>.png"><script src=x>').write_bytes(png("red"))
    page = written(run)
    assert "<script src=x>" not in page.content
    assert ("src", "x") not in page.attributes
    assert any(image["alt"] == 'Scatter"><i>' for image in page.images)


def test_it_shows_terms_scores_with_intervals_and_controls_pictures_and_where_they_come_from(run):
    page = written(run)
    for shown in (
        "100.2",
        "1.50 ±0.20",
        "0.250 ±0.020",
        "0.015 ±0.020",
        "0.0003",
        "disvae-train beta=4",
        "c0ffee",
        "torch: 9.9",
    ):
        assert shown in page.text, shown
    assert "mig (pca): no <such> thing" in page.text
    assert "4 of 10 latents are active" in page.text
    assert ".." not in page.text.partition("Pictures")[0]
    assert "finished at step 300 of 300" in page.text
    sources = [image["src"] for image in page.images]
    for colour in ("red", "blue"):
        assert f"data:image/png;base64,{base64.b64encode(png(colour)).decode()}" in sources


def test_its_title_says_objective_weights_dataset_and_seed(run):
    page = written(run)
    assert "<h1>beta_vae, beta=4 on sprites, seed 0</h1>" in page.content
    assert run.path.name in page.text


def test_a_table_shows_all_rows_or_says_that_it_scrolls(run):
    assert "scroll tall" not in written(run).content
    entries = run.scores()
    (of,) = entries["metric"]["mig"]["scores"].values()
    entries["metric"]["mig"]["scores"] |= {f"score{i}": of for i in range(60)}
    run.save_scores(entries)
    page = written(run)
    assert "61 rows: scroll inside the table" in page.text
    assert page.content.count("scroll tall") == 1


def named(text: str, folder: Path, config: dict[str, Any]) -> Page:
    """The page of a run that holds the text wherever a run can hold one."""
    part = text.replace("/", "")  # what a file, a folder or a part of a tag can hold
    run = Run(folder / f"a{part}")
    run.path.mkdir()
    config["dataset"] |= {"_target_": f"disvae.dataset.{text}.Class", f"setting{text}": text}
    run.create(config, {"sessions": [{"command": text, "seconds": {f"stage{text}": 1.0}, "packages": {text: text}}]})
    run.mark("failed", 7, error=f"{text}\nat line 3")
    run.save_metrics(
        {"val/elbo": -1.0, "val/reconstruction": 1.0, "val/kl": 1.0, f"val/term{part}": 1.0, "val/active_units": 4.0}
        | {"val/overlap/mutual_information": 5.0, "val/overlap/mutual_information_limit": 9.2}
    )
    value = {"value": 0.25, "se": 0.01, "low": 0.23, "high": 0.27}
    score = {"model": value, f"source{text}": value}
    entry = {
        "scores": {f"score{part}": score, f"score{part}/detail{text}": score},
        "chance": {},
        "failed": {f"other{text}": f"reason{text}"},
        "settings": {"_target_": text, f"setting{text}": text},
        "protocol": {"samples": 1000, "images": text, "codes": text, "transport": text},
    }
    run.save_scores({f"metric{text}": {f"label{text}": entry}})
    run.figures.mkdir()
    for file in (f"traversal-{part}.png", f"own{part}.png", f"traversal.{part}"):
        (run.figures / file).write_bytes(png("red"))
    with SummaryWriter(str(run.path)) as writer:
        for step in (100, 200):
            writer.add_scalar(f"val/term{part}", step, step)
            writer.add_scalar(f"metric/label{part}/score", step, step)
    return written(run)


def test_no_text_of_a_run_writes_into_its_page(hostile, tmp_path, composed):
    page = named(hostile, tmp_path, resolved(composed()))
    plain = named("plain", tmp_path, resolved(composed()))
    assert page.elements == plain.elements  # an element or attribute more would be the text's
    part = hostile.replace("/", "")
    forms = (hostile, part, hostile.replace("'", "''"))  # the last one is YAML's
    assert sum(map(page.text.count, forms)) == plain.text.count("plain") > 20
    assert {image["alt"] for image in page.images} >= {f"Traversal ({part})", f"term{part}"}


def test_every_link_of_the_page_leads_to_a_section(run):
    page = written(run)
    links = [value[1:] for name, value in page.attributes if name == "href" and value and value.startswith("#")]
    assert links == page.ids
    assert links == ["pictures", "curves", "terms", "scores", "configuration", "how-this-run-was-made"]


def test_pictures_come_with_what_their_option_says_the_usual_ones_first(run, composed):
    config = resolved(composed("figure=[reconstruction]"))
    run.create(config, {})
    page = written(run)
    assert [image["alt"] for image in page.images][:2] == ["Reconstruction (images4)", "Traversal"]
    assert "Meaning of each latent" in page.text


def test_curves_are_drawn_of_what_varies_and_not_of_details(run):
    drawn = [image["alt"] for image in written(run).images]
    assert {"elbo", "mig/histogram"} <= set(drawn)
    assert "beta" not in drawn  # a constant
    assert not any("shape" in (name or "") for name in drawn)


def test_a_curve_of_few_points_shows_all_of_them():
    steps = np.arange(10)
    _, figure = _chart("active_units", [(Curve(steps, np.array([6.0] + 9 * [4.0])), None, "validation", "red")], "")
    low, high = figure.axes[0].get_ylim()
    assert low < 4
    assert high > 6


def test_nothing_is_loaded_from_elsewhere(run):
    page = written(run)
    for name, value in page.attributes:
        if name in ("src", "href", "srcset", "data", "action"):
            assert (value or "").startswith(("data:image/", "#")), (name, value)
    assert not re.search(r"url\(|@import|https?://", page.content)


def test_the_explorer_is_linked_where_it_is_there(run, tmp_path):
    assert "explore.html" not in written(run).content
    (run.path / "explore.html").write_text("")
    assert 'href="explore.html"' in written(run).content
    assert "explore.html" not in write_page(run, tmp_path / "elsewhere.html").read_text(encoding="utf-8")


def test_a_run_that_was_only_begun_has_a_page(composed, tmp_path):
    run = Run(tmp_path / "begun")
    run.path.mkdir()
    run.create(resolved(composed("beta=4")), {})
    page = written(run)
    assert "new at step 0 of 10,000" in page.text
    assert "the whole configuration" in page.text.lower()


def test_a_run_that_diverged_says_why(run):
    run.mark("diverged", 7, error="step 7: loss is nan")
    assert "diverged at step 7 of 300: step 7: loss is nan" in written(run).text


def test_the_command_writes_the_page_and_names_it(run, tmp_path, capsys):
    report([f"run={run.path}", f"out={tmp_path / 'page.html'}"])
    assert str(tmp_path / "page.html") in capsys.readouterr().out
    assert (tmp_path / "page.html").stat().st_size > 1000
    report([str(run.path)])
    assert run.report.is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "name the folder of a run"),
        (["nowhere"], "is not the folder of a run"),
        (["RUN", "beta=4"], "beta=4 is not an option"),
        (["RUN", "RUN", "out=x.html"], "works with one run only"),
        (["RUN", "out=nowhere/x.html"], "must be a file in an existing folder"),
    ],
)
def test_what_cannot_be_is_said(run, arguments, said):
    with pytest.raises(ConfigError, match=said):
        report([str(run.path) if argument == "RUN" else argument for argument in arguments])


def test_a_damaged_file_is_named(run):
    (run.path / "scores.json").write_text("{")
    with pytest.raises(ConfigError, match=r"scores\.json"):
        write_page(run, run.report)


def test_it_needs_no_torch(run):
    code = (
        "import sys; from disvae.report import report; "
        f"report([{str(run.path)!r}]); assert 'torch' not in sys.modules, 'the page must not wait for torch'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"PYTHONPATH": "."})


def test_a_finished_run_has_its_page_and_a_new_score_is_on_it(composed, tmp_path, tiny):
    from disvae.evaluate import evaluate
    from disvae.train import train

    overrides = [*tiny, f"out={tmp_path}", "seed=3", "report=true", "final_figures=[schedules]"]
    overrides += ["schedule@schedule.beta=linear", "schedule.beta.until=0.5"]
    overrides = [each for each in overrides if each not in ("report=false", "final_figures=[]")]
    train(composed(*overrides), overrides, {"objective": "beta_vae", "dataset": "clusters"}, brief=True)
    (folder,) = (path for path in (tmp_path / "clusters").iterdir() if path.is_dir())
    run = Run(folder)
    page = Page(run.report.read_text(encoding="utf-8"))
    assert "finished at step 20 of 20" in page.text
    assert any(image["alt"] == "Schedules" for image in page.images)
    assert np.isfinite(json.loads((folder / "metrics.json").read_text())["val/elbo"])
    assert "active_units/count" not in page.text
    evaluate([str(folder), "metric=[active_units]"])
    assert "active_units/count" in Page(run.report.read_text(encoding="utf-8")).text
    asked = [*(each for each in overrides if each != "figure=[]"), "figure=[scatter]"]
    train(composed(*asked), asked, {"objective": "beta_vae", "dataset": "clusters"}, brief=True)
    assert any(image["alt"] == "Scatter" for image in Page(run.report.read_text(encoding="utf-8")).images)
