"""One table for the terminal and the pages: which rows and columns, to which digits."""

from rich.console import Console

from disvae.runs.tables import (
    Cell,
    Head,
    Table,
    failures,
    few_images,
    needed_images,
    number,
    scores_table,
    terms_table,
)
from disvae.runs.tags import enough_images
from disvae.runs.terminal import needed_width, print_scores, print_whole, rich_table

MODEL = {"value": 0.25, "se": 0.01, "low": 0.23, "high": 0.27}
PCA = {"value": 0.0123456, "se": None, "low": None, "high": None}
ENTRIES = {
    "mig": {
        "scores": {"histogram": {"model": MODEL, "pca": PCA}, "histogram/shape": {"model": MODEL}},
        "chance": {"histogram": 0.00034},
        "failed": {"ica": "no end", "untrained": "no end"},
    },
    "jemmig": {"scores": {"jemmig": {"model": MODEL}}, "chance": {}, "failed": {"ica": "no end", "pca": "no rows"}},
}


def texts(rows) -> list[list[str]]:
    return [[cell.text for cell in row] for row in rows]


def test_a_number_has_the_digits_that_its_interval_leaves_it():
    assert number(0.19634, 0.0361) == "0.196 ±0.036"
    assert number(123.456, 7.2) == "123.5 ±7.2"
    assert number(123.456, 30) == "123 ±30"
    assert number(0.123456, None) == number(0.123456, float("inf")) == "0.1235"
    assert number(-1e-15, 0) == "0 ±0"


def test_terms_have_a_row_each_and_a_column_for_each_stage_with_values():
    metrics = {"val/kl": 2.0, "val/kl_se": 0.1, "val/kl_per_dimension/00": 1.0, "train/kl": 2.125, "metric/mig/x": 0.3}
    of = terms_table({"train/kl": 2.125, **metrics})
    assert [head.text for head in of.heads] == ["nats per image", "last batch", "validation"]
    assert texts(of.rows) == [["kl", "2.125", "2.00 ±0.20"]]


def test_scores_have_arrows_baselines_chance_and_details_as_hints():
    of = scores_table(ENTRIES)
    assert [head.text for head in of.heads] == ["score", "model", "pca", "chance"]
    assert texts(of.rows) == [
        ["mig/histogram ↑", "0.250 ±0.020", "0.01235", "0.00034"],
        ["jemmig/jemmig ↓", "0.250 ±0.020", "", ""],
    ]
    assert of.rows[0][0].hint == "shape 0.25"
    assert of.rows[0][2].value == "0.0123456"
    assert [head.text for head in scores_table({"jemmig": ENTRIES["jemmig"]}).heads] == ["score", "model"]


def test_each_reason_is_said_once_with_all_that_it_concerns():
    assert failures(ENTRIES) == ["mig (ica, untrained), jemmig (ica): no end", "jemmig (pca): no rows"]


def test_the_terminal_shows_every_cell_as_it_is():
    best, tied, other = Cell("0.52 ★", kind="best"), Cell("0.51 ≈"), Cell("0.11")
    heads = [Head("group [bold]", is_text=True), Head("mig ↑")]
    rows = [[Cell(f"[red]{i}"), cell] for i, cell in enumerate((best, tied, other))]
    screen = Console(width=80)
    with screen.capture() as capture:
        screen.print(rich_table(Table(heads, rows, references=[[Cell("pca"), Cell("0.05")]])))
    shown = [line for line in capture.get().splitlines() if "0." in line]
    assert [line.split() for line in shown] == [
        ["[red]0", "0.52", "★"],
        ["[red]1", "0.51", "≈"],
        ["[red]2", "0.11"],
        ["pca", "0.05"],
    ]
    assert "group [bold]" in capture.get()


def test_metrics_that_need_more_images_are_named_unless_all_images_were_scored():
    def entry(samples, population):
        return {"protocol": {"samples": samples, "population": population}}

    enough = enough_images("mig")
    assert needed_images({"mig-bins40": entry(enough - 1, 700_000), "sparsity": entry(5, 700_000)}) == {
        "mig-bins40": enough
    }
    assert not needed_images({"mig": entry(enough, 700_000)})
    assert not needed_images({"mig": entry(400, 400)}), "they are all images"
    assert needed_images({"mig": entry(400, None)}) == {"mig": enough}, "codes of a file have no known population"
    assert not needed_images({"udr": {"protocol": {}}})
    first, second = few_images({"sap": 2000, "mig": 5000, "irs": 2000})
    assert first.startswith("few images: sap, irs: with fewer than 2,000 images")
    assert second.startswith("few images: mig: with fewer than 5,000 images")


SOURCES = ("untrained", "pca", "ica", "rotation")


def test_at_80_columns_scores_stand_beside_the_best_baseline_in_one_row_each():
    baselines = {source: {**MODEL, "value": 0.1 * i - 1e-16} for i, source in enumerate(SOURCES)}
    entry = {
        "scores": {"disentanglement_of_all": {"model": MODEL, **baselines}},
        "chance": {"disentanglement_of_all": 0.01},
        "failed": {},
        "settings": {},
        "protocol": {"samples": 1000, "images": "validation"},
    }
    for width, expected in ((80, "│rotation 0.3"), (140, "│0.300 ±0.020")):
        screen = Console(width=width)
        with screen.capture() as capture:
            print_scores({"metric": {"dci": entry}}, screen)
        (row,) = [line for line in capture.get().splitlines() if "disentanglement_of_all" in line]
        assert len(row) <= width
        assert expected.removeprefix("│") in row
    lower = scores_table({"jemmig": {**entry, "scores": {"jemmig": {"model": MODEL, **baselines}}}}, narrow=True)
    assert lower.rows[0][2].text == "untrained 0.000"  # where lower is better


def test_a_table_that_is_wider_than_the_screen_keeps_all_its_numbers():
    table = rich_table(Table([Head("x" * 30), Head("y")], [[Cell("1"), Cell("12345")]]))
    screen = Console(width=20)
    with screen.capture() as capture:
        print_whole(table, screen)
    assert "12345" in capture.get()
    assert needed_width(table, screen) > screen.width == 20
