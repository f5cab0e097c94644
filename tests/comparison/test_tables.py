"""What the terminal shows and the CSV holds."""

import csv
import math

import pytest
from rich.console import Console

from disvae.comparison.groups import compare
from disvae.comparison.row import Row
from disvae.comparison.tables import columns, found, main_tag, print_choices, print_comparison, trust, write_csv
from disvae.comparison.udr import TAG
from disvae.config import ConfigError
from tests.comparison.fabricated import row

MIG = "metric/mig/histogram"


def shown(comparison, chosen=(), sort=None, width=120) -> str:
    screen = Console(width=width)
    with screen.capture() as capture:
        print_comparison(comparison, chosen, sort, screen)
    return capture.get()


def lines(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_groups_come_best_first_with_intervals_and_marks():
    seeds = {1: (0.10, 0.12, 0.11), 2: (0.50, 0.54, 0.52), 4: (0.51, 0.49, 0.53)}
    (of,) = compare([row(beta, s, mig=value) for beta, values in seeds.items() for s, value in enumerate(values)])
    text = shown(of, [MIG], MIG)
    (first,), (second,), (third,) = lines(text, "0.520"), lines(text, "0.510"), lines(text, "0.110")
    assert first.split() == ["1", "2", "3", "0.520", "±0.050", "★"]
    assert second.split() == ["2", "4", "3", "0.510", "±0.050", "≈"]
    assert third.split() == ["3", "1", "3", "0.110", "±0.025"]
    assert text.index(first) < text.index(second) < text.index(third)
    assert "higher is better" in text
    assert "Games & Howell" in text


def test_controls_are_reference_rows_below_the_groups():
    (of,) = compare([row(1, mig=0.3, controls={MIG: {"pca": 0.05, "chance": 0.001}}), row(2, mig=0.2)])
    text = shown(of)
    assert lines(text, "pca")[0].split() == ["pca", "0.05"]
    assert lines(text, "chance")[0].split() == ["chance", "0.001"]
    assert text.index("pca") > text.index("0.2")


def test_a_collapsed_group_comes_last_and_has_no_star_nor_has_a_single_one_and_collapse_is_said_first():
    none = {"val/active_units": 0.0}
    perfect = "metric/gaussian_tc/total_correlation"  # lower is better: 0 for constant codes
    runs = [row(1, metrics=none | {perfect: 0.0, "steps": 1}), row(2, metrics={perfect: 0.5, "steps": 0})]
    (of,) = compare(runs)
    assert [ranked.group.collapsed for ranked in of.rank(perfect)] == [False, True]
    assert [ranked.group.collapsed for ranked in of.rank("steps")] == [True, False]
    (of,) = compare([row(1, mig=0.3)])
    assert "★" not in shown(of)
    (of,) = compare([row(1, seed, mig=0.0, metrics=none) for seed in (0, 1)] + [row(2, mig=0.0, metrics=none)])
    assert "★" not in shown(of, [MIG], MIG).partition("mean over seeds")[0]
    (of,) = compare([row(1, seed, mig=0.0, metrics=none) for seed in (0, 1)] + [row(2, mig=-0.1)])
    text = shown(of, [MIG], MIG)
    assert lines(text, "-0.1 ★")
    assert lines(text, "Collapsed: 2 of 3 runs", "all runs of beta=1.")
    assert text.index("Collapsed") < text.index("mig")


def test_one_seed_is_said_to_be_one_and_shows_the_interval_of_its_images():
    (of,) = compare([row(1, mig=0.3, errors={MIG: 0.01}, intervals={MIG: (0.27, 0.33)}), row(2, mig=0.2)])
    text = shown(of)
    assert lines(text, "0.300 (±0.030) ★")
    assert "every group has one seed" in text
    assert "not of seeds" in text
    assert "Howell" not in text


def test_a_score_that_a_seed_lacks_says_how_many_have_it():
    (of,) = compare([row(1, 0, mig=0.3), row(1, 1, mig=0.5), row(1, 2)])
    assert lines(shown(of), "sprites", "n=2")
    assert lines(shown(of), "n=: number of seeds")


def test_a_group_without_the_score_comes_last_without_a_place():
    (of,) = compare([row(1, mig=0.3, reconstruction=9.0), row(2, reconstruction=5.0)])
    text = shown(of)
    (last,) = lines(text, " 5 ★")
    assert last.split()[0] == "2"  # its beta, no place
    assert text.index(" 9 ") < text.index(" 5 ★")


def test_columns_are_a_few_that_fit_and_the_others_are_named():
    tags = [f"metric/{name}/{score}" for name in ("mig", "sap", "irs", "dci", "higgins") for score in ("a", "b")]
    terms = ["val/reconstruction", "val/overlap/mutual_information"]
    (of,) = compare([row(1, metrics=dict.fromkeys([*tags, *terms], 0.123456))])
    assert columns(of, (), tags[0])[:5] == [tags[0], tags[2], tags[4], *terms]
    text = shown(of, width=60)
    assert max(map(len, lines(text, "0.123"))) <= 60
    assert "dci/a" in lines(text, "more columns")[0]


def test_no_number_that_was_asked_for_is_cut():
    tags = [f"metric/mig/{'long' * 5}{i}" for i in range(12)]
    (of,) = compare([row(1, metrics={tag: 0.1234 for tag in tags})])
    assert lines(shown(of, tags, tags[0], width=80), *["0.1234"])[0].count("0.1234") == 12


def test_failed_and_unfinished_runs_are_listed_with_reason_and_path():
    rows = [
        row(1, 0, mig=0.1),
        row(1, 1, state="diverged", error="loss is NaN\nTraceback", step=1200),
        row(1, 2, state="interrupted", step=500),
        Row("beta=-1", None, "failed", error="beta must be >= 0", typed=True),
    ]
    (of,) = compare(rows)
    text = shown(of)
    assert "4 runs: 1 finished in 1 group, 1 diverged, 1 interrupted, 1 failed" in text
    assert "sprites-beta=1,seed=1\n    diverged at step 1,200: loss is NaN\n" in text
    assert "beta=-1\n    failed: beta must be >= 0" in text
    assert "sprites-beta=1,seed=2\n    interrupted at step 500" in text


def test_many_runs_without_a_result_are_counted():
    (of,) = compare([row(1, seed, state="new") for seed in range(25)])
    text = shown(of)
    assert "25 runs: 0 finished, 25 not started" in text
    assert "and 5 more" in text
    assert "no finished run: nothing to compare yet" in text


def test_finished_runs_without_any_number_are_said_to_be():
    assert "no scores or terms" in shown(compare([row(1)])[0])


def test_what_ranks_is_the_first_score_with_a_better_end():
    (of,) = compare([row(1, metrics={"metric/active_units/count": 5.0, MIG: 0.1, "val/elbo": 1.0})])
    assert main_tag(of) == MIG
    assert main_tag(compare([row(1, metrics={"val/kl": 1.0, "val/elbo": 1.0})])[0]) == "val/elbo"
    assert main_tag(compare([row(1, metrics={"val/kl": 1.0})])[0]) is None


def test_the_elbo_ranks_before_scores_without_labels_and_after_those_by_them():
    metrics = {"metric/sparsity/hoyer": 0.1, "val/elbo": -3.0, "val/reconstruction": 2.0}
    assert main_tag(compare([row(1, metrics=metrics)])[0]) == "val/elbo"
    assert main_tag(compare([row(1, metrics=metrics | {MIG: 0.1})])[0]) == MIG
    assert main_tag(compare([row(1, metrics=metrics)])[0], "metric/sparsity/hoyer") == "metric/sparsity/hoyer"


def test_of_each_metric_the_first_score_with_a_better_end_is_a_column():
    tags = ("metric/aggregate_posterior/mutual_information", "metric/aggregate_posterior/mmd", "val/elbo")
    (of,) = compare([row(1, metrics=dict.fromkeys(tags, 0.1))])
    assert columns(of, [], "val/elbo") == ["val/elbo", tags[1]]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({1: (0.50, 0.51, 0.52), 2: (0.10, 0.11, 0.12), 3: (0.49, 0.51, 0.53)}, "told apart from 1 of 2 others"),
        (
            {1: (0.50, 0.51, 0.52), 2: (0.10, 0.11, 0.12), 3: (0.2,)},
            "1 of 2 others; not known for 1 with one seed",
        ),
        (
            {1: (0.5, 0.6), 2: (0.3, 0.9)},
            "best is beta=2, its best seed 1 (0.9); it is told apart from no other: do not rely on this order, about",
        ),
        ({1: (0.5,), 2: (0.3,)}, "told apart from no other: this needs at least two seeds of each group"),
    ],
)
def test_whether_the_order_can_be_relied_on_is_said(values, said):
    rows = [row(beta, seed, mig=mig) for beta, found in values.items() for seed, mig in enumerate(found)]
    (of,) = compare(rows)
    assert said in trust(of, MIG)
    assert said in shown(of)


def test_nothing_is_said_of_an_order_that_is_none():
    rows = [row(beta, mig=0.1, metrics={"val/kl": beta}) for beta in (1, 2)]
    assert trust(compare(rows)[0], "val/kl") == trust(compare(rows[:1])[0], MIG) == ""


def test_a_found_line_counts_groups():
    (of,) = compare([row(1, mig=0.1), row(2, mig=0.1), row(2, 1, mig=0.1)])
    assert found(of) == "3 runs: 3 finished in 2 groups"


@pytest.mark.parametrize(
    "text", ["=1+2", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "-", "+1x", "-1.5e", "=-1.5"]
)
def test_the_csv_holds_no_formula(tmp_path, text):
    write_csv(compare([row(1, error=text, settings={text: text})]), tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        (found,) = csv.DictReader(file)
    safe = f"'{text}".replace("\r", " ")
    assert (found["error"], found[safe]) == (safe, safe)


def test_a_line_break_in_a_text_begins_no_row_of_the_csv(tmp_path):
    write_csv(compare([row(1, error="lost\r=1+2\n=3")]), tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        (found,) = csv.DictReader(file)
    assert found["error"] == "lost =1+2\n=3"


def test_numbers_of_the_csv_stay_numbers(tmp_path):
    values = {"settings": {"whole": "-3", "small": -1e-7, "text": "-1.5", "list": "[-1, 2]", "least": -math.inf}}
    write_csv(compare([row(1, reconstruction=-2.5, **values)]), tmp_path / "r.csv")
    with (tmp_path / "r.csv").open(newline="") as file:
        (found,) = csv.DictReader(file)
    names = ("whole", "small", "text", "list", "least", "val/reconstruction")
    assert [found[name] for name in names] == ["-3", "-1e-07", "-1.5", "[-1, 2]", "-inf", "-2.5"]


def test_the_csv_has_every_run_with_folder_settings_values_and_errors(tmp_path):
    rows = [
        row(1, 0, mig=0.25, errors={MIG: 0.01}),
        row(2, 0, reconstruction=9.5),
        row(1, 1, state="diverged", error='loss, "NaN"', step=7),
        row(1, 0, dataset="shapes3d", mig=0.5, settings={"optimizer.lr": 0.0005, "optimizer.amsgrad": False}),
    ]
    target = tmp_path / "r.csv"
    write_csv(compare(rows), target)
    with target.open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [each["path"] for each in table] == [
        "sprites-beta=1,seed=0",
        "sprites-beta=2,seed=0",
        "sprites-beta=1,seed=1",
        "shapes3d-beta=1,seed=0",
    ]
    assert (table[0][MIG], table[0][f"{MIG}_se"], table[0]["group"]) == ("0.25", "0.01", "beta=1")
    assert (table[1][MIG], table[1]["val/reconstruction"]) == ("", "9.5")
    assert (table[2]["state"], table[2]["error"], table[2]["step"], table[2]["group"]) == (
        "diverged",
        'loss, "NaN"',
        "7",
        "",
    )
    assert (table[3]["dataset"], table[3]["optimizer.lr"], table[3]["optimizer.amsgrad"]) == (
        "shapes3d",
        "0.0005",
        "false",
    )
    assert "val/reconstruction_se" not in table[0]


def test_a_csv_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"cannot write .*r\.csv"):
        write_csv(compare([row(1)]), tmp_path / "nowhere" / "r.csv")


def test_udrs_choice_stands_beside_the_supervised_one():
    values = {0: (0.2, 0.1), 1: (0.9, 0.3), 2: (0.5, 0.6)}  # UDR, mig
    peers = frozenset(f"sprites-beta=1,seed={seed}" for seed in values)
    rows = [row(1, seed, metrics={TAG: u, MIG: m}, peers=peers) for seed, (u, m) in values.items()]
    screen = Console(width=150)
    with screen.capture() as capture:
        print_choices(compare(rows)[0], MIG, screen)
    (line,) = lines(capture.get(), "0.3333")
    assert line.split() == ["sprites", "0.500", "1", "0.3", "2", "0.6", "0.3333", "0.1"]


def test_without_a_choice_it_is_said_what_it_needs():
    screen = Console()
    with screen.capture() as capture:
        print_choices(compare([row(1, mig=0.2)])[0], MIG, screen)
    assert "at least two seeds" in capture.get()


def test_what_training_knew_is_stated_where_a_group_knew_something():
    plain = [row(4, seed, mig=0.1 + seed / 100) for seed in range(2)]
    paired = [row(4, seed, mig=0.3 + seed / 100, settings={"objective": "ada_gvae"}) for seed in range(2)]
    text = shown(*compare(plain + paired), [MIG], MIG)
    assert "supervision" in text
    assert lines(text, "ada_gvae", "pairs")
    assert lines(text, "beta_vae", "none")
    assert "supervision" not in shown(*compare(plain), [MIG], MIG)


def test_the_csv_states_what_training_knew(tmp_path):
    rows = [row(), row(settings={"objective": "dc_ign"})]
    write_csv(compare(rows), tmp_path / "results.csv")
    with open(tmp_path / "results.csv", encoding="utf-8", newline="") as file:
        assert sorted(each["supervision"] for each in csv.DictReader(file)) == ["factors", "none"]


def test_an_order_by_udr_is_not_said_to_be_sure():
    rows = [row(beta, seed, metrics={TAG: udr}) for beta, udr in ((1, 0.13), (2, 0.12), (4, 0.22)) for seed in (0, 1)]
    (of,) = compare(rows, tags=[TAG])
    assert trust(of, TAG).endswith(
        "it is not known how sure this is, because each group has one value, a comparison of its seeds"
    )
    text = shown(of, [TAG])
    assert "±0" not in text
    assert "0.22 ★" in text
    assert "0.13 ≈" not in text
