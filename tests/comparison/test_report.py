import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch.utils.tensorboard import SummaryWriter

from disvae.build import make_vae
from disvae.comparison.figures import Line
from disvae.comparison.groups import compare
from disvae.comparison.over_steps import over_steps
from disvae.comparison.report import write_report
from disvae.comparison.row import Row
from disvae.comparison.traversals import best_and_median
from disvae.comparison.udr import TAG as UDR
from disvae.config import ConfigError, resolved
from disvae.pictures.html import Picture
from tests.comparison.rows import MIG, SAP, runs, write


class Page(HTMLParser):
    """A report, read: its tables by section as lists of rows of (text, value, class), links, images, all text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text, self.links, self.images, self.tables, self.attributes, self.elements = "", [], [], {}, [], []
        self.section, self.cell = "", None
        self.content = path.read_text(encoding="utf-8")
        self.feed(self.content)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.attributes += [(tag, *pair) for pair in attrs]
        self.elements.append((tag, *found))
        if tag == "section":
            self.section = found["id"]
        if tag == "a":
            self.links.append(found["href"])
        if tag == "img":
            self.images.append((self.section, found["alt"], found["src"]))
        if tag == "table":
            self.tables.setdefault(self.section, [])
        if tag == "tr":
            self.tables[self.section].append([])
        if tag in ("td", "th"):
            self.cell = ["", found.get("data-v"), found.get("class") or ""]

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.tables[self.section][-1].append(tuple(self.cell))
            self.cell = None

    def handle_data(self, data):
        self.text += data
        if self.cell is not None:
            self.cell[0] += data

    def drawn(self, section):
        return [alt for where, alt, _ in self.images if where == section]


def report(rows, folder, sort=None, **options):
    path = folder / "report.html"
    write_report(compare(rows, **options), path, sort=sort, with_traversals=False)
    return Page(path)


@pytest.fixture
def drawn():
    """Asked for where pictures themselves matter."""


@pytest.fixture(autouse=True)
def undrawn(request, monkeypatch):
    """Figures are made, but not drawn, which is what takes seconds."""
    if "drawn" not in request.fixturenames:
        stub = "disvae.comparison.report.picture"
        monkeypatch.setattr(stub, lambda figure, alt, **options: Picture("data:image/none", alt))


def test_groups_are_ranked_with_their_means_and_every_value_is_the_rows(tmp_path):
    rows = runs(tmp_path)
    page = report(rows, tmp_path)
    head, *body = page.tables["groups"]
    column = [cell[0] for cell in head].index("mig\nhistogram ↑")
    assert [row[0][0] for row in body[:3]] == ["1", "2", "3"]
    assert [row[1][0] for row in body[:3]] == ["4", "2", "1"]
    assert [float(row[column][1]) for row in body[:3]] == pytest.approx([0.41, 0.21, 0.11])
    assert body[0][column][0] == "0.410 ±0.025 ★"
    assert body[0][column][2] == "best"
    assert [row[1][0] for row in body[3:]] == ["pca", "chance"]
    assert [row[column][1] for row in body[3:]] == ["0.05", "0.001"]


def test_groups_that_seeds_do_not_tell_apart_from_the_best_are_marked(tmp_path):
    rows = runs(tmp_path, beta=(1.0, 1.01, 9.0))
    for row in rows:
        row.metrics[MIG] = {1.0: 0.3, 1.01: 0.301, 9.0: 0.1}[row.settings["beta"]] + 0.01 * row.settings["seed"]
    body = report(rows, tmp_path).tables["groups"][1:]
    assert [row[3][0][-1] in "★≈" and row[3][0][-1] for row in body[:3]] == ["★", "≈", False]


def test_curves_over_the_steps_are_of_groups_and_codes_of_the_best_seeds(tmp_path):
    rows = runs(tmp_path, seeds=2, beta=(1.0, 4.0))
    for i, row in enumerate(rows):
        write(row, "picture", "figures/aggregate_posterior.png")
        with SummaryWriter(str(row.path)) as writer:
            for step in (10, 20):
                writer.add_scalar("val/elbo", -step - i, step)
                writer.add_scalar("metric/mig/histogram", i / step, step)
                writer.add_scalar("verbose/val/beta", i * step, step)
    page = report(rows, tmp_path, sort=MIG)
    assert page.drawn("curves-over-the-steps")[1:] == ["val/elbo over the steps", "metric/mig/histogram over the steps"]
    assert page.drawn("q-z--of-the-best-seed-of-each-group") == ["beta=1, seed 1", "beta=4, seed 1"]
    write(rows[0], "picture", "figures/traversal.png")
    (of,) = compare(rows)
    (figure, _), *_ = over_steps([Line((), (group,)) for group in of.groups])
    means = [line.get_ydata() for line in figure.axes[0].lines if line.get_linewidth() == 2]
    np.testing.assert_allclose(means, [[-10.5, -20.5], [-12.5, -22.5]])


def test_every_run_is_linked_to_its_folder_and_its_values_are_whole(tmp_path):
    rows = runs(tmp_path)
    for row in rows:
        write(row, "{}", "status.json")
    page = report(rows, tmp_path)
    found = {unquote(link) for link in page.links if not link.startswith("#")}
    assert found == {f"sprites/{row.name}" for row in rows}
    assert all((tmp_path / link).is_dir() for link in found)
    head, *body = page.tables["runs"]
    column = [cell[0] for cell in head].index("sap\nlinear ↑")
    assert {row[0][0]: float(row[column][1]) for row in body} == {row.name: row.metrics[SAP] for row in rows}


@pytest.mark.usefixtures("drawn")
def test_nothing_is_loaded_from_elsewhere(tmp_path):
    page = report(runs(tmp_path, beta=(1.0, 2.0), alpha=(0.0, 1.0)), tmp_path)
    for tag, name, value in page.attributes:
        if name in ("src", "href", "action", "srcset", "data"):
            assert value.startswith(("data:image/", "#", "sprites/")), (tag, name, value)
    assert not re.search(r"url\(|@import|https?://", page.content)
    for _, alt, source in page.images:
        kind, _, data = source.partition(";base64,")
        content = base64.b64decode(data).decode()
        assert kind == "data:image/svg+xml"
        assert alt
        assert not re.search(r'(href|src)="(?!#|data:)|url\((?!#)|DOCTYPE', content)


def named(text, folder):
    """The report on runs that hold the text wherever a run can hold one."""
    part = text.replace("/", "")  # what a part of a tag can hold
    rows = runs(folder, dataset=text, objective=(f"a{text}", "b"), beta=(1.0, 2.0))
    same = [
        [each.path.name for each in rows if each.settings == row.settings | {"seed": each.settings["seed"]}]
        for row in rows
    ]
    rows = [replace(row, peers=frozenset(names)) for row, names in zip(rows, same, strict=True)]
    for row in rows:
        row.metrics[f"metric/label{part}/score{part}"] = row.metrics[MIG]
        row.metrics[UDR] = 0.5 + 0.1 * (row.settings["seed"] == 1)
        row.controls[MIG] = {f"source{text}": 0.05}
        write(row, json.dumps({"sessions": [{"command": text, "started": text}]}), "provenance.json")
    rows.append(Row(f"run{text}", folder / f"run{text}", f"state{text}", 3, f"{text}\nat line 3", {"dataset": text}))
    rows.append(Row("other", None, "failed", 0, text, {"dataset": f"other{text}"}))
    return report(rows, folder)


@pytest.mark.usefixtures("drawn")
def test_no_text_of_a_run_writes_into_the_report(hostile, tmp_path):
    page, plain = named(hostile, tmp_path / "a"), named("plain", tmp_path / "b")
    assert page.elements == plain.elements  # an element or attribute more would be the text's
    forms = (hostile, hostile.replace("/", ""))
    assert sum(map(page.text.count, forms)) == plain.text.count("plain") > 20


def test_each_section_has_its_figures(tmp_path):
    page = report(runs(tmp_path, objective=("a", "b"), beta=(1.0, 2.0, 4.0), alpha=(0.0, 1.0)), tmp_path)
    along = [alt for alt in page.drawn("scores-along-beta") if "against beta" in alt]
    assert along[:2] == ["mig/histogram against beta", "elbo against beta"]
    assert len(along) == 7
    assert page.text.count("Not drawn: 1 more of the scores and terms in the table") == 2  # sap/linear is no headline
    assert "mig/histogram by beta and alpha, objective=a" in page.drawn("heat-maps")
    assert len(page.drawn("heat-maps")) == 14
    assert len([alt for alt in page.drawn("reconstruction-against-disentanglement") if "front" in alt]) == 2
    last = page.drawn("rate-and-distortion--overlap-and-structure")
    assert last[1:] == ["rate and distortion", "overlap and kl_qz_pz", "overlap and total_correlation"]


def test_datasets_stand_side_by_side(tmp_path):
    page = report(runs(tmp_path) + runs(tmp_path, dataset="dsprites"), tmp_path)
    assert page.content.count('<div class="side many">') == 3
    assert page.drawn("scores-along-beta").count("mig/histogram against beta") == 2
    assert len([row for row in page.tables["groups"] if row[0][0] == "1"]) == 2


def test_what_failed_is_told_with_its_reason_and_what_goes_on_with_its_step(tmp_path):
    rows = runs(tmp_path)
    rows += [
        Row("beta=8", tmp_path / "beta=8", "failed", 7, "MemoryError: no more\nFile x", {"dataset": "sprites"}),
        Row("beta=9", tmp_path / "beta=9", "killed", 30, "", {"dataset": "sprites"}),
        Row("beta=10", None, "new", 0, "", {"dataset": "sprites"}),
    ]
    page = report(rows, tmp_path)
    found = [[cell[0] for cell in row] for row in page.tables["failed-and-unfinished"]]
    assert ["beta=8", "failed", "7", "MemoryError: no more"] in found
    assert ["beta=10", "not started", "0", ""] in found
    assert next(row for row in found if row[0] == "beta=9")[:3] == ["beta=9", "killed", "30"]
    assert "12 runs: 9 finished in 3 groups" in page.text


@pytest.mark.parametrize("case", ["nothing finished", "one run", "one group", "terms alone", "no values", "alpha"])
def test_missing_pieces_leave_the_rest(tmp_path, case):
    rows = {
        "nothing finished": [Row("a", tmp_path / "a", "running", 5, "", {"dataset": "sprites"})],
        "one run": runs(tmp_path, seeds=1, beta=(1.0,)),
        "one group": runs(tmp_path, beta=(1.0,)),
        "terms alone": runs(tmp_path),
        "no values": runs(tmp_path),
        "alpha": runs(tmp_path, seeds=1, alpha=(0.0, 1.0)),
    }[case]
    for row in rows:
        for tag in [*row.metrics]:
            if case == "no values" or (case == "terms alone" and tag.startswith("metric")):
                del row.metrics[tag]
    page = report(rows, tmp_path)
    assert "comparison of" in page.text
    if case == "alpha":
        assert "mig/histogram against alpha" in page.drawn("scores-along-alpha")
    if case == "terms alone":
        assert "elbo against beta" in page.drawn("scores-along-beta")
        assert not page.drawn("reconstruction-against-disentanglement")
    if case in ("one run", "one group"):
        assert not page.drawn("scores")
        assert "rate and distortion" in page.drawn("rate-and-distortion--overlap-and-structure")
    if case in ("nothing finished", "no values"):
        assert not page.images
        assert "No finished run with values yet." in page.text


def test_the_tag_to_sort_by_ranks_and_comes_first(tmp_path):
    page = report(runs(tmp_path), tmp_path, sort=SAP)
    assert page.tables["groups"][0][3][0] == "sap\nlinear ↑"
    assert [row[1][0] for row in page.tables["groups"][1:4]] == ["1", "2", "4"]


def test_hundreds_of_runs_have_a_bounded_number_of_figures(tmp_path):
    rows = runs(seeds=1, objective=("a", "b", "c"), beta=(1.0, 2.0, 4.0, 8.0), alpha=tuple(map(float, range(25))))
    for row in rows:
        row.metrics.update({f"metric/m{k}/x": 0.1 * k for k in range(40)})
    page = report(rows, tmp_path)
    assert 50 < len(page.images) < 100
    assert "Not drawn" in page.text
    assert len(page.tables["runs"]) == 301


def test_commands_and_times_are_those_of_the_runs(tmp_path):
    rows = runs(tmp_path)
    session = {"command": "disvae-train -m beta=1,2 <x>", "started": "2031-01-02T03:04:05+0000"}
    for row in rows:
        write(row, json.dumps({"sessions": [session]}), "provenance.json")
    write(rows[0], "{", "provenance.json")
    page = report(rows, tmp_path)
    assert page.text.count("disvae-train -m beta=1,2 <x>") == 1
    assert "2031-01-02T03:04:05+0000" in page.text


def test_udrs_choice_is_a_section_with_what_follows_from_it(tmp_path):
    rows = runs(tmp_path, beta=(1.0, 2.0))
    for row in rows:
        row.metrics[UDR] = 0.5 + 0.1 * (row.settings["seed"] == 1) - 0.1 * row.settings["beta"]
    rows = [
        replace(row, peers=frozenset(r.name for r in rows if r.settings["beta"] == row.settings["beta"]))
        for row in rows
    ]
    page = report(rows, tmp_path)
    _, *body = page.tables["model-selection-without-labels"]
    assert [[cell[0] for cell in line[:6]] for line in body] == [
        ["beta=1", "0.400", "1", "0.11", "2", "0.12"],
        ["beta=2", "0.300", "1", "0.21", "2", "0.22"],
    ]
    assert "UDR chooses the group beta=1 (mig/histogram 0.11); mig/histogram would choose beta=2 (0.21)." in page.text
    assert "told apart from 1 of 1 others." in page.text


def test_schedules_that_move_are_drawn_and_the_others_named(tmp_path, composed):
    config = resolved(composed("steps=100"))
    rows = runs(tmp_path, seeds=1, beta=(1.0, 4.0))
    for row, kind in zip(rows, ("constant.Constant", "linear.Linear"), strict=True):
        node = {"_target_": f"disvae.schedule.{kind}", "value": row.settings["beta"]}
        node |= {"start": 0.0, "until": 0.5, "steps": 100} if "linear" in kind else {}
        config["objective"]["beta"] = node
        write(row, OmegaConf.to_yaml(OmegaConf.create(config)), "config.yaml")
    page = report(rows, tmp_path)
    assert page.drawn("schedules") == ["weights over a run"]
    assert "beta is constant: 1" in page.text


def test_a_report_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(ConfigError, match="cannot write"):
        write_report(compare(runs()), tmp_path / "none" / "report.html", with_traversals=False)


def trained(row, composed, *overrides):
    """A checkpoint of fresh weights in the run's folder."""
    config = resolved(composed("dataset.scales=2", "dataset.orientations=4", "dataset.positions=8", *overrides))
    write(row, OmegaConf.to_yaml(OmegaConf.create(config)), "config.yaml")
    vae = make_vae(config, (1, 64, 64))
    weights = {f"vae.{key}": value for key, value in vae.state_dict().items()}
    content = {"global_step": 0, "state_dict": weights, "optimizer_states": [], "terms": {}, "best_elbo": 0.0}
    torch.save(content, row.path / "last.ckpt")


@pytest.mark.usefixtures("drawn")
def test_traversals_are_of_the_best_and_the_median_run(tmp_path, composed):
    rows = runs(tmp_path, seeds=1)
    small = ("model=mlp", "model.encoder_hidden=[4]", "model.decoder_hidden=[4]", "z_dim=2")
    for row in rows:
        trained(row, composed, *small)
    write_report(compare(rows), tmp_path / "report.html")
    page = Page(tmp_path / "report.html")
    drawn = page.drawn("traversals-of-the-best-and-the-median-run")
    assert drawn == [
        f"best run by mig/histogram (0.4): {rows[2].name}",
        f"median run by mig/histogram (0.2): {rows[1].name}",
    ]


@pytest.mark.parametrize(
    ("number", "tag", "expected"),
    [
        (4, MIG, [("best run", 0.4), ("median run", 0.2)]),
        (3, "val/reconstruction", [("best run", 101), ("median run", 102)]),
        (2, MIG, [("best run", 0.2), ("other run", 0.1)]),
        (1, MIG, [("only run", 0.1)]),
    ],
)
def test_the_median_of_an_even_number_is_the_lower_one(tmp_path, number, tag, expected):
    (of,) = compare(runs(tmp_path, seeds=1, beta=tuple(range(1, number + 1))))
    assert [(what, pytest.approx(row.metrics[tag])) for what, row in best_and_median(of, tag)] == expected


@pytest.mark.parametrize("case", ["points", "no checkpoint"])
def test_where_there_can_be_no_traversal_a_sentence_says_why(tmp_path, composed, case):
    rows = runs(tmp_path, seeds=1)
    for row in rows:
        config = resolved(composed("dataset=clusters") if case == "points" else composed("dataset.positions=1"))
        write(row, OmegaConf.to_yaml(OmegaConf.create(config)), "config.yaml")
    write_report(compare(rows), tmp_path / "report.html")
    said = {"points": "the data are points, not images", "no checkpoint": "last.ckpt cannot be read"}[case]
    assert said in Page(tmp_path / "report.html").text
