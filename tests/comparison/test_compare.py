"""The command line of comparisons: paths, filters, columns, files, and one message for what cannot be."""

import csv
import os
import signal
import subprocess
import sys

import pytest

from disvae.compare import compare_paths, main, tags_of
from disvae.config import ConfigError, resolved
from disvae.runs.folder import Run
from disvae.training.job import Job
from disvae.training.loop import train_run
from tests.comparison.fabricated import add_udr, fabricate, record

SCORES = {(1, 0): 0.1, (1, 1): 0.12, (4, 0): 0.5, (4, 1): 0.54}


@pytest.fixture(scope="module")
def config(composed):
    return resolved(composed("dataset=clusters", "steps=20"))


@pytest.fixture
def out(config, tmp_path):
    """Two values of beta, two seeds each; one more seed is interrupted."""
    for (beta, seed), mig in SCORES.items():
        fabricate(tmp_path, config, beta, seed, mig=mig)
    fabricate(tmp_path, config, 4, 2, state="interrupted")
    return tmp_path


def compare(out, *options, report="none") -> None:
    compare_paths([str(out), f"report={report}", *options])


def table(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_is_compared_and_its_runs_are_in_a_csv_beside_them(out, capsys):
    compare(out)
    said = capsys.readouterr().out
    assert "clusters: 5 runs: 4 finished in 2 groups, 1 interrupted" in said
    assert said.index("0.52") < said.index("0.11")
    assert str(out / "results.csv") in said
    runs = table(out / "results.csv")
    assert len(runs) == 5
    assert all(Run(out / "clusters" / each["run"]).status()["state"] == each["state"] for each in runs)


def test_filters_choose_runs(out):
    compare(out, "beta=4", "seed=0,2")
    assert [(each["beta"], each["seed"]) for each in table(out / "results.csv")] == [("4", "0"), ("4", "2")]


def test_columns_and_the_order_are_chosen(out, capsys):
    compare(out, "metric=[elbo,mig]", "sort=reconstruction")
    said = capsys.readouterr().out
    assert "by reconstruction, lower is better" in said
    assert "kl" not in said
    compare(out, "metric=elbo,mig/histogram")
    assert "by elbo, higher is better" in capsys.readouterr().out


def test_a_report_is_written_beside_the_runs(out, capsys):
    compare_paths([str(out), "traversals=false"])
    assert str(out / "report.html") in capsys.readouterr().out
    report = (out / "report.html").read_text()
    assert all(path.name in report for path in (out / "clusters").iterdir())


def test_files_go_where_they_are_sent_or_nowhere(out, tmp_path):
    compare(out, f"csv={tmp_path / 'mine.csv'}")
    assert len(table(tmp_path / "mine.csv")) == 5
    compare(out, "csv=none")
    assert not (out / "results.csv").exists()


def test_a_sweeps_files_are_beside_its_record(out):
    jobs = [{"overrides": ["beta=4"], "run": str(p.relative_to(out)), "error": None} for p in out.glob("*/beta=4*")]
    sweep = record(out, jobs)
    compare(sweep)
    assert len(table(sweep.with_suffix(".csv"))) == 3


def test_runs_that_are_named_leave_their_files_above_them(out):
    runs = [str(path) for path in sorted((out / "clusters").iterdir())]
    compare_paths([*runs[:2], "report=none"])
    assert len(table(out / "clusters" / "results.csv")) == 2
    compare_paths([runs[0], "report=false"])  # as in training
    assert not os.path.exists("false")
    assert len(table(out / "clusters" / "results.csv")) == 1


def test_nothing_finished_is_said_and_no_error(config, tmp_path, capsys):
    fabricate(tmp_path, config, 1, 0, state="interrupted")
    compare(tmp_path)
    assert "no finished run" in capsys.readouterr().out
    assert len(table(tmp_path / "results.csv")) == 1


def test_runs_without_scores_are_compared_by_their_terms(config, tmp_path, capsys):
    for beta in (1, 4):
        fabricate(tmp_path, config, beta, 0)
    compare(tmp_path)
    assert "by elbo, higher is better" in capsys.readouterr().out


def test_objectives_with_other_settings_stand_in_one_table(config, composed, tmp_path, capsys):
    fabricate(tmp_path, config, 4, 0, mig=0.1)
    other = resolved(composed("dataset=clusters", "steps=20", "objective=capacity"))
    fabricate(tmp_path, other | {"objective": other["objective"] | {"beta": {"value": 1.0}}}, 2, 0, mig=0.2)
    compare(tmp_path)
    said = capsys.readouterr().out
    assert "objective" in said
    assert "beta_vae" in said


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("metric=[mgi]", "mgi is not a score or term of these runs; did you mean mig"),
        ("metric=zzz", "zzz is not a score or term of these runs; the runs have mig/histogram"),
        ("sort=mig/histgram", "did you mean mig/histogram"),
        ("by=bet", "bet is no setting of these runs; did you mean beta"),
        ("by=seed", "by=seed does not vary among the finished runs; what varies: beta"),
        ("traversals=1", "traversals must be true or false, got 1"),
        ("betta=4", "betta is no setting of these runs; did you mean beta"),
        ("beta=3", "no run has beta=3; they have 1, 4"),
        ("udr=yes", "udr must be true or false, got yes"),
        ("csv=/nowhere/x.csv", "csv=/nowhere/x.csv must be a file in an existing folder"),
        ("beta=", "beta= lacks a name or a value; type beta=VALUE"),
    ],
)
def test_what_cannot_be_is_one_message(out, option, message):
    with pytest.raises(ConfigError, match=message):
        compare(out, option)


def test_filters_that_leave_nothing_are_named(out, config):
    fabricate(out, config, 8, 7, mig=0.1)
    with pytest.raises(ConfigError, match="no run has all of beta=8, seed=0"):
        compare(out, "beta=8", "seed=0")


def test_without_a_path_it_says_what_to_type():
    with pytest.raises(ConfigError, match=r"python -m disvae\.compare outputs"):
        compare_paths(["beta=4"])


def test_mistakes_end_with_status_2_and_one_line(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "/nowhere"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("disvae: /nowhere does not exist")


def test_a_name_stands_for_a_tag_its_short_form_or_a_metric(out):
    from disvae.comparison.results import collect

    rows = collect([out])
    assert tags_of("mig", rows) == ["metric/mig/histogram"]
    assert tags_of("mig/histogram", rows) == tags_of("metric/mig/histogram", rows) == ["metric/mig/histogram"]
    assert tags_of("mig/histogram/shape", rows) == ["metric/mig/histogram/shape"]
    assert tags_of("kl", rows) == tags_of("val/kl", rows) == ["val/kl"]


def test_a_comparison_without_udr_waits_for_no_torch(out):
    code = (
        "import sys; from disvae.compare import compare_paths; "
        f"compare_paths([{str(out)!r}, 'report=none', 'csv=none']); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_help_is_the_modules_docstring(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare", "--help"])
    before = signal.getsignal(signal.SIGPIPE)
    main()
    signal.signal(signal.SIGPIPE, before)
    assert "sort=" in capsys.readouterr().out


def test_udr_that_is_there_is_not_computed_again(out, capsys):
    for beta in (1, 4):
        runs = [Run(path) for path in sorted((out / "clusters").glob(f"beta={beta},*")) if "seed=2" not in path.name]
        for run in runs:
            add_udr(run, 0.1 * beta, runs)  # these runs have no checkpoint to compute it from
    compare(out, "udr=true")
    said = capsys.readouterr().out
    assert "UDR chooses the group beta=4 (mig/histogram 0.52); mig/histogram would choose beta=4 (0.52)" in said


def test_udr_that_cannot_be_had_is_said_and_the_rest_is_compared(out, capsys, caplog):
    compare(out, "udr=true")
    assert "UDR of beta=1 is not available" in caplog.text
    assert "last.ckpt" in caplog.text
    assert "no choice by UDR" in capsys.readouterr().out


def test_udr_is_computed_for_groups_of_seeds_among_themselves(composed, tiny, tmp_path, capsys):
    for beta, seed in ((1, 0), (4, 0), (4, 1), (8, 0), (8, 1)):
        config = resolved(composed(*tiny, f"beta={beta}", f"seed={seed}", "z_dim=2", "metric=[]"))
        train_run(Job(Run(tmp_path / f"beta={beta},seed={seed}"), config, brief=True))
    compare(tmp_path, "udr=true")
    assert "Chosen without labels, by UDR, and judged by elbo" in capsys.readouterr().out
    protocol = Run(tmp_path / "beta=4,seed=1").scores()["metric-runs"]["udr"]["protocol"]
    assert sorted(os.path.basename(path) for path in protocol["runs"]) == [f"beta=4,seed={s}" for s in (0, 1)]
    before = (tmp_path / "beta=4,seed=1" / "scores.json").stat().st_mtime_ns
    compare(tmp_path, "udr=true")
    assert (tmp_path / "beta=4,seed=1" / "scores.json").stat().st_mtime_ns == before


def test_a_dataset_without_the_chosen_scores_is_ranked_by_its_own(out, config, capsys):
    other = config | {"dataset": config["dataset"] | {"scale": 9}}
    for seed in (0, 1):
        fabricate(out, other, 2, seed)
    compare(out, "metric=[mig,kl]", "csv=none")
    first, second = capsys.readouterr().out.split("clusters, dataset.scale=9: ")
    assert "by mig/histogram" in first
    assert "by elbo" in second
    assert "mig" not in second


def test_a_reader_that_goes_away_gets_no_traceback(out):
    command = [sys.executable, "-m", "disvae.compare", str(out), "report=none"]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert started.stdout is not None
    started.stdout.close()
    assert started.stderr is not None
    assert started.stderr.read() == ""
    assert started.wait() != 0
