"""What TensorBoard makes of several runs: their knobs and final scores as columns, and which curves go together."""

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.api_pb2 import Experiment, ListSessionGroupsRequest, ListSessionGroupsResponse, Status
from tensorboard.plugins.hparams.backend_context import Context
from tensorboard.plugins.hparams.list_session_groups import Handler

from disvae.config import resolved
from disvae.evaluate import evaluate
from disvae.logger.tensorboard import TensorBoard
from disvae.runs.curves import curves
from disvae.runs.folder import Run
from disvae.runs.tags import FIGURES, logged, measured
from disvae.runs.tensorboard import at_end, later_file, replace_events, write_scores
from disvae.training.job import Job
from disvae.training.loop import train_run

SCORES = {"metric/mig/histogram": 0.5, "metric/mig/histogram_se": 0.01, "metric/mig/histogram/shape": 0.4}
TERMS = {"val/elbo": -90.0, "val/loss": 91.0, "val/kl_per_dimension/00": 1.0, "val/beta": 4.0, "held_out/elbo": -92.0}


def run(folder: Path, config: dict, metrics: dict[str, float] | None) -> None:
    """A run's events as training leaves them; without `metrics` it was interrupted after its first validation."""
    logger = TensorBoard(folder, step=0)
    logger.begin(config)
    logger.log_metrics(logged({"train/elbo": -100.0}), 5)
    logger.log_metrics({"val/elbo": -95.0}, 10)
    logger.close()
    if metrics is not None:
        write_scores(folder, metrics, 20)


def compared(logdir: Path) -> tuple[Experiment, ListSessionGroupsResponse]:
    """HParams' own answer: its columns and its rows."""
    events = EventMultiplexer().AddRunsFromDirectory(str(logdir)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(events, str(logdir))))
    asked = RequestContext()
    tags = context.hparams_metadata(asked, "")
    columns = context.experiment_from_metadata(asked, "", True, tags, [])
    request = ListSessionGroupsRequest(allowed_statuses=Status.values(), start_index=0, slice_size=100)
    return columns, Handler(asked, context, "", request).run()


def metrics_of(columns: Experiment) -> list[str]:
    return [info.name.tag for info in columns.metric_infos]


def values(row) -> dict[str, float]:
    return {metric.name.tag: metric.value for metric in row.metric_values}


@pytest.fixture
def config(composed):
    return lambda *overrides: resolved(composed("dataset=clusters", *overrides))


def test_every_knob_of_any_objective_is_a_column_and_those_that_differ_come_first(config, tmp_path):
    for name in ("beta_vae", "factor_vae", "decomposition", "vae"):
        for seed in (0, 1):
            run(tmp_path / f"objective={name},seed={seed}", config(f"objective={name}", f"seed={seed}"), TERMS)
    columns, rows = compared(tmp_path)
    differing = [info.name for info in columns.hparam_infos if info.differs]
    assert [info.name for info in columns.hparam_infos][: len(differing)] == differing
    assert differing == ["objective", "seed"]
    known = {info.name for info in columns.hparam_infos}
    assert known >= {"beta", "alpha", "divergence", "objective.gamma", "optimizer.lr", "prior", "dataset", "z_dim"}
    by_name = {row.name: row.hparams for row in rows.session_groups}
    assert len(by_name) == 8  # a row a run, called as its folder
    assert by_name["objective=factor_vae,seed=1"]["seed"].number_value == 1
    assert "objective.gamma" not in by_name["objective=vae,seed=0"]


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_columns_do_not_depend_on_which_run_is_read_first_nor_when_it_was_scored(config, tmp_path, order):
    few, many = TERMS, TERMS | SCORES
    for name, metrics in zip(order, (few, many), strict=True):
        run(tmp_path / name, config(f"beta={len(metrics)}"), metrics)
    columns, rows = compared(tmp_path)
    assert metrics_of(columns)[:2] == ["metric/mig/histogram", "val/elbo"]
    found = {row.name: values(row).get("metric/mig/histogram") for row in rows.session_groups}
    assert found == {order[0]: None, order[1]: 0.5}


def test_a_score_that_is_computed_again_replaces_its_column(config, tmp_path):
    run(tmp_path / "a", config(), TERMS | SCORES)
    write_scores(tmp_path / "a", TERMS | {"metric/mig/histogram": 0.75}, 20)
    (row,) = compared(tmp_path)[1].session_groups
    assert values(row)["metric/mig/histogram"] == 0.75


def test_an_interrupted_run_has_its_knobs_and_no_scores(config, tmp_path):
    run(tmp_path / "done", config("beta=1"), TERMS | SCORES)
    run(tmp_path / "stopped", config("beta=2"), None)
    done, stopped = sorted(compared(tmp_path)[1].session_groups, key=lambda row: row.name)
    assert stopped.hparams["beta"].number_value == 2
    assert not [tag for tag in values(stopped) if "metric/" in tag]
    assert [row.sessions[0].status for row in (done, stopped)] == [Status.STATUS_SUCCESS, Status.STATUS_UNKNOWN]


NAMES = {  # of values, by their tags
    "metric/mig/histogram": "metric/mig/histogram",
    "val/structure/mmd": "val/structure/mmd",
    "verbose/metric/mig/histogram_se": "metric/mig/histogram_se",
    "verbose/metric/mig/histogram/shape": "metric/mig/histogram/shape",
    "verbose/metric/sparsity/hoyer": "metric/sparsity/hoyer",  # needs no labels
    "verbose/metric-all/sap/classification": "metric-all/sap/classification",
    "verbose/val/kl_per_dimension/00": "val/kl_per_dimension/00",
    "verbose/val/overlap/mutual_information_limit": "val/overlap/mutual_information_limit",
    "verbose/val/tc_mws": "val/tc_mws",
    "verbose/val/beta": "val/beta",
    "verbose/held_out/elbo": "held_out/elbo",
    "while_training/loss": "train/loss",
}


def test_tensorboard_opens_with_headline_scores_and_terms_of_validations():
    assert list(logged(dict.fromkeys(NAMES.values(), 0.0))) == list(NAMES)
    assert {tag: measured(tag) for tag in NAMES} == NAMES
    groups = {tag.partition("/")[0] for tag in (*NAMES, FIGURES)}
    assert sorted(groups) == ["metric", "val", "val_figure", "verbose", "while_training"]


def test_points_with_the_tags_of_earlier_versions_are_replaced(tmp_path):
    former = {"final/mig/histogram": 0.1, "metric/sparsity/hoyer": 0.2}
    summaries = [Summary(value=[Summary.Value(tag=tag, simple_value=value)]) for tag, value in former.items()]
    replace_events(tmp_path, ".scores", summaries, 20)
    write_scores(tmp_path, {"metric/mig/histogram": 0.5, "metric/sparsity/hoyer": 0.25}, 20)
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"metric/mig/histogram", "verbose/metric/sparsity/hoyer"}
    assert {name: curve.values.tolist() for name, curve in curves(tmp_path).items()} == {
        "metric/mig/histogram": [0.5],
        "metric/sparsity/hoyer": [0.25],
    }


def layout(folder: Path) -> dict[str, dict[str, list[str]]]:
    events = EventAccumulator(str(folder)).Reload()
    tensor = events.Tensors("custom_scalars__config__")[-1].tensor_proto
    return {
        category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
        for category in Layout.FromString(tensor.string_val[0]).category
    }


def test_terms_of_the_elbo_stand_together_and_so_do_overlap_and_structure(config, tmp_path):
    run(tmp_path, config("metric=[mig,sap]"), TERMS)
    found = layout(tmp_path)
    terms = [tag for tags in found["ELBO and its terms"].values() for tag in tags]
    assert set(terms) == {
        f"^{stage}/{term}$" for stage in ("val", "while_training") for term in ("elbo", "reconstruction", "kl")
    }
    both = [tag for tags in found["Overlap and structure"].values() for tag in tags]
    assert "^val/overlap/mutual_information$" in both
    assert "^val/structure/kl_qz_pz$" in both
    assert found["Scores"] == {name: [f"^(verbose/)?metric/{name}/[^/]+$"] for name in ("mig", "sap")}


def test_a_continued_run_keeps_one_row_one_layout_and_the_points_of_its_checkpoint(config, tmp_path):
    run(tmp_path / "a", config(), None)
    before = layout(tmp_path / "a")
    again = TensorBoard(tmp_path / "a", step=7)  # the checkpoint came before the validation at 10
    again.begin(config())
    again.log_metrics({"val/elbo": -94.0}, 10)
    again.close()
    assert layout(tmp_path / "a") == before
    events = EventAccumulator(str(tmp_path / "a")).Reload()
    assert [(point.step, point.value) for point in events.Scalars("val/elbo")] == [(10, -94.0)]
    assert [point.step for point in events.Scalars("while_training/elbo")] == [5]
    assert len(compared(tmp_path)[1].session_groups) == 1


def test_a_run_without_scores_and_one_scored_later_fill_the_same_columns(composed, tiny, tmp_path):
    trained = Run(tmp_path / "clusters" / "beta=4-0123")
    train_run(Job(trained, resolved(composed(*tiny, "metric=[]")), brief=True))
    columns, rows = compared(tmp_path)
    assert "val/elbo" in metrics_of(columns)
    assert not [tag for tag in metrics_of(columns) if "active_units/" in tag]
    evaluate([str(trained.path), "metric=[active_units]"])
    columns, rows = compared(tmp_path)
    (row,) = rows.session_groups
    assert row.name == "clusters/beta=4-0123"  # and its scores are no run of their own
    added = {tag: value for tag, value in values(row).items() if "active_units/" in tag}
    scores = {tag: value for tag, value in trained.metrics().items() if "active_units/" in tag}
    expected = logged(at_end(scores))  # what other loggers get, too
    assert not [tag for tag in expected if tag.endswith("_se")]
    assert added == pytest.approx(expected)
    assert expected


@pytest.mark.slow
def test_tensorboards_server_says_the_same(config, tmp_path):
    logdir = tmp_path / "runs"
    run(logdir / "beta=1", config("beta=1"), TERMS)
    run(logdir / "beta=2", config("beta=2"), TERMS | SCORES)
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", "0", "--load_fast", "false"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            address = _address(tmp_path / "log", server)
            request = urllib.request.Request(
                f"{address}data/plugin/hparams/experiment",
                json.dumps({"experimentName": "", "hparamsLimit": 100}).encode(),
                {"Content-Type": "application/json"},
            )
            experiment: dict = {}
            for _ in range(60):  # it answers before it has read the events
                experiment = json.load(urllib.request.urlopen(request))
                if len(experiment.get("metricInfos", [])) > 3:
                    break
                time.sleep(1)
            charts = json.load(urllib.request.urlopen(f"{address}data/plugin/custom_scalars/layout"))
        finally:
            server.terminate()
    assert experiment["hparamInfos"][0]["name"] == "beta"
    assert experiment["metricInfos"][0]["name"]["tag"] == "metric/mig/histogram"
    titles = [category["title"] for category in charts["category"]]
    assert titles == ["ELBO and its terms", "Overlap and structure", "Scores"]


def _address(log: Path, server: subprocess.Popen) -> str:
    for _ in range(120):
        words = log.read_text().split()
        if found := [word for word in words if word.startswith("http://localhost")]:
            return found[0]
        assert server.poll() is None, log.read_text()
        time.sleep(0.5)
    raise AssertionError(log.read_text())


def test_a_file_of_events_is_of_a_later_second_than_those_there(tmp_path):
    time.sleep(1 - time.time() % 1)  # the beginning of a second
    former = int(time.time())
    (tmp_path / f"events.out.tfevents.{former:010d}.host.9.9").touch()
    later_file(tmp_path)
    assert int(time.time()) > former


def test_files_of_events_from_a_clock_that_was_ahead_keep_their_order_and_come_before_a_new_one(tmp_path):
    ahead = int(time.time()) + 3600
    for i, second in enumerate((ahead - 7200, ahead, ahead + 5)):
        (tmp_path / f"events.out.tfevents.{second:010d}.host.9.{i}").write_text(str(i))
    later_file(tmp_path)
    files = sorted(tmp_path.iterdir())
    assert [file.read_text() for file in files] == ["0", "1", "2"]
    assert all(int(file.name.split(".")[3]) < time.time() for file in files)
