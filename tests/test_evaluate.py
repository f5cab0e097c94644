"""A run folder is scored again by itself, and codes of other programs as well."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from disvae.config import ConfigError, resolved
from disvae.evaluate import evaluate
from disvae.evaluation import codes_file
from disvae.evaluation.run_encodings import restored
from disvae.evaluation.run_scores import choose_metrics, stage
from disvae.evaluation.settings import scoring_settings
from disvae.runs.folder import Run
from disvae.runs.terminal import print_result
from disvae.score import score, score_file
from disvae.system.command import paths
from disvae.train import train
from disvae.training.build_module import build_module
from disvae.training.job import Job
from disvae.training.loop import train_run
from disvae.training.module import VAEModule
from disvae.training.run_trainer import Stopped

SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=8", "dataset.scales=2", "z_dim=3")
SHORT = ("steps=6", "eval_every=2", "batch_size=16", "eval_images=400", "split.validation=0.3", "eval_samples=50")
SHORT += ("beta=0.1", "optimizer.lr=0.003")  # a collapsed model would score 0 by every metric
CHEAP = ("sparsity", "mig", "active_units", "aggregate_posterior")


@pytest.fixture(scope="module")
def trained(composed, tmp_path_factory) -> Run:
    """A run on a small grid of sprites with a few metrics."""
    run = Run(tmp_path_factory.mktemp("runs") / "run")
    few = f"[{','.join(CHEAP)}]"
    train_run(Job(run, resolved(composed(*SPRITES, *SHORT, "metric=[sparsity,mig]", f"final={few}")), brief=True))
    return run


@pytest.fixture
def run(trained, tmp_path) -> Run:
    """A copy that a test may change."""
    shutil.copytree(trained.path, tmp_path / "beta=4,z_dim=3-0123")
    return Run(tmp_path / "beta=4,z_dim=3-0123")


def test_a_run_ends_with_its_scores_their_intervals_and_controls(trained):
    entries = trained.scores()["metric"]
    assert set(entries) == set(CHEAP)
    found = entries["mig"]["scores"]["histogram"]
    assert found.keys() == {"model", "untrained", "pca", "ica", "rotation"}
    for of_source in found.values():
        assert of_source["low"] <= of_source["value"] <= of_source["high"]
    assert entries["mig"]["settings"]["bins"] == 20
    assert entries["mig"]["protocol"]["samples"] == 400
    assert entries["mig"]["protocol"]["population"] == 3 * 2 * 4 * 8 * 8
    assert trained.metrics()["metric/mig/histogram"] == found["model"]["value"]
    assert trained.metrics()["metric/mig/histogram_se"] == found["model"]["se"]
    assert trained.metrics()["val/elbo"] < 0  # the terms are still there


def test_metrics_are_curves_while_training_whose_details_stand_apart(trained):
    events = EventAccumulator(str(trained.path), size_guidance={"scalars": 0}).Reload()
    points = [(point.step, point.value) for point in events.Scalars("metric/mig/histogram")]
    assert [step for step, _ in points] == [2, 4, 6]
    assert points[-1][1] == pytest.approx(trained.metrics()["metric/mig/histogram"], rel=1e-5)
    tags = events.Tags()["scalars"]
    assert [tag for tag in tags if tag.startswith("metric/mig/")] == ["metric/mig/histogram"]  # the rest are details
    assert [tag for tag in tags if tag.startswith("verbose/metric/mig/histogram/")]


def test_scores_while_training_are_those_of_the_same_codes_at_the_end(composed, tmp_path, trained):
    longer = Run(tmp_path / "longer")
    overrides = [text for text in SHORT if text != "steps=6"]
    train_run(Job(longer, resolved(composed(*SPRITES, *overrides, "steps=8", "metric=[mig]", "final=[]")), brief=True))
    events = EventAccumulator(str(longer.path), size_guidance={"scalars": 0}).Reload()
    at_six = next(point.value for point in events.Scalars("metric/mig/histogram") if point.step == 6)
    assert at_six == pytest.approx(trained.metrics()["metric/mig/histogram"], rel=1e-5)


def test_evaluate_adds_other_metrics_and_settings_beside_those_there(run, capsys):
    before = run.metrics()
    evaluate([str(run.path), "metric=[mig,gaussian_tc]", "metric.mig.bins=5", "score.controls=[rotation]"])
    printed = capsys.readouterr().out
    assert "mig-bins5/histogram" in printed
    assert "gaussian_tc" in printed
    assert "sparsity" not in printed
    after = run.metrics()
    assert {tag: after[tag] for tag in before} == before
    assert after["metric/mig-bins5/histogram"] != before["metric/mig/histogram"]
    assert run.scores()["metric"]["mig-bins5"]["settings"]["bins"] == 5


def test_evaluate_again_gives_the_same_numbers_and_other_seeds_their_own_tag(run, capsys):
    before = run.metrics()
    evaluate([f"run={run.path}", "metric=[mig,sparsity]"])
    assert run.metrics() == before
    evaluate([f"run={run.path}", "metric=[mig]", "score.seed=3"])
    assert "metric-seed3/mig/histogram" in run.metrics()


def test_the_folder_alone_is_enough_while_the_codes_are_kept(run, monkeypatch, capsys):
    monkeypatch.setattr("disvae.evaluation.run_encodings.build", lambda config: pytest.fail("the dataset was read"))
    before = run.metrics()["metric/aggregate_posterior/total_correlation"]
    evaluate([str(run.path), "metric=[aggregate_posterior,higgins]"])
    assert run.metrics()["metric/aggregate_posterior/total_correlation"] == before
    assert "metric/higgins/raw" in run.metrics()


@pytest.mark.parametrize("damage", ["gone", "cut", "of another checkpoint"])
def test_codes_that_are_not_good_are_made_again(run, damage, capsys):
    path = run.path / "encoding.h5"
    expected = codes_file.read_codes(path)
    if damage == "gone":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:1000])
    else:
        codes_file.write(path, expected | {"checkpoint": np.array("other"), "codes": expected["codes"] + 1})
    before = run.metrics()
    evaluate([str(run.path), "metric=[mig]"])
    assert run.metrics() == before
    for name, array in codes_file.read_codes(path).items():
        assert (array == expected[name]).all(), name


def test_a_baseline_that_cannot_be_computed_is_listed_with_its_reason(run, monkeypatch, capsys):
    def no_pixels(*args, **kwargs):
        raise ValueError("images must differ")

    monkeypatch.setattr("disvae.evaluation.controls.pixels", no_pixels)
    (run.path / "encoding.h5").unlink()
    evaluate([str(run.path), "metric=[sparsity,mig]"])
    entry = run.scores()["metric"]["mig"]
    assert entry["scores"]["histogram"].keys() == {"model", "untrained", "rotation"}
    assert entry["failed"] == {"pca": "images must differ", "ica": "images must differ"}
    assert "(pca, ica): images must differ" in capsys.readouterr().out


def test_all_images_are_scored_on_request_and_owe_nothing_to_a_sample(run, capsys):
    evaluate([str(run.path), "metric=[mig]", "score.images=all", "score.controls=[]"])
    found = run.scores()["metric-all"]["mig"]
    assert found["protocol"]["samples"] == found["protocol"]["population"] == 1536
    assert found["scores"]["histogram"]["model"]["se"] == 0
    assert "1,536 of 1,536 images (all)" in capsys.readouterr().out


def test_the_kept_untrained_control_is_the_network_before_its_first_step(run, composed):
    arrays = codes_file.read_codes(run.path / "encoding.h5")
    torch.manual_seed(0)
    from disvae.build import build

    built = build(run.config())
    x = built.dataset.images.take(torch.from_numpy(arrays["rows"]))
    with torch.no_grad():
        expected = built.vae.eval().encode(x).mean.numpy()
    assert np.allclose(arrays["controls/untrained"], expected, atol=1e-6)
    assert not np.allclose(arrays["codes"], expected, atol=1e-3)


def test_samples_and_held_out_images_have_tags_of_their_own():
    usual = {"images": "validation", "codes": "mean", "transport": False, "seed": 0}
    assert stage(usual) == "metric"
    other = {"images": "held_out", "codes": "sample", "transport": True, "seed": 7}
    assert stage(other) == "metric-held_out-sample-transport-seed7"


@pytest.mark.parametrize("prior", ["anisotropic", "student_t", "mixture", "sparse", "laplace"])
def test_a_vae_is_restored_from_its_folder_without_its_dataset(composed, tmp_path, prior):
    run = Run(tmp_path / "run")
    short = ("dataset=clusters", "steps=3", "eval_samples=10", "final=[]")
    train_run(Job(run, resolved(composed(*short, f"prior={prior}")), brief=True))
    from disvae.build import build
    from disvae.runs.checkpoint import load

    built = build(run.config())
    module = build_module(run.config(), built, torch.device("cpu"))
    module.load_state_dict(load(run.last)["state_dict"])
    vae = restored(run.config(), load(run.last), (1, 1, 2))
    z = torch.linspace(-2, 2, 8).view(4, 2)
    with torch.no_grad():
        assert torch.equal(vae.prior().log_prob(z), built.vae.prior().log_prob(z))
        assert torch.equal(vae.decode(z).mean, built.vae.decode(z).mean)


def test_transport_is_told_in_the_protocol(composed, tmp_path, capsys):
    run = Run(tmp_path / "run")
    short = ("dataset=clusters", "steps=3", "eval_samples=10", "final=[]")
    train_run(Job(run, resolved(composed(*short, "prior=student_t")), brief=True))
    evaluate([str(run.path), "metric=[sparsity]", "score.transport=true"])
    found = run.scores()["metric-transport"]["sparsity"]
    assert found["protocol"]["transport"] == "from the prior StudentT to the standard normal, latent by latent"
    assert "transport: from the prior" in capsys.readouterr().out


def test_runs_are_compared_by_their_agreement_on_the_same_images(run, tmp_path, capsys):
    same = shutil.copytree(run.path, tmp_path / "same")
    evaluate([str(run.path), str(same), "metric=[udr]"])
    values = run.metrics()
    found = [tag for tag in values if tag.startswith("metric-runs/udr/") and not tag.endswith("_se")]
    assert found
    assert Run(same).metrics()[found[0]] == pytest.approx(values[found[0]])
    assert len(run.scores()["metric-runs"]["udr"]["protocol"]["runs"]) == 2


BAD = [
    ([], "name the folder of a run"),
    (["RUN", "metric=[nothing]"], "metric"),
    (["RUN", "metric=[mig]", "metric.mig.bin=3"], "bin"),
    (["RUN", "metric=[mig]", "metric.mig.bins=1"], "bins must be at least 2, got 1"),
    (["RUN", "metric=[mig]", "metric.mig.bins=many"], "metric.mig.bins must be a whole number, got 'many'"),
    (["RUN", "score.repeats=1"], "score.repeats must be a whole number from 2 to 10,000, got 1"),
    (["RUN", "score.controls=[noise]"], "score.controls must be a list of untrained, pca, ica, rotation"),
    (["RUN", "score.images=test"], "score.images must be validation or held_out or all, got 'test'"),
    (["RUN", "beta=4"], "beta"),
    (["RUN", "metric=[udr]"], "udr needs several runs"),
    (["NOWHERE"], "is not the folder of a trained run"),
    (["RUN", "metric=null"], "metric must be one or a list of .*got null"),
    (["RUN", "metric=[../objective/vae]"], "metric must be one or a list of"),
    (["RUN", "metric=[mig]", "metric.mig=null"], "metric.mig must be the value of a setting"),
    (["RUN", "+foo=1"], "foo is not a setting"),
    (["RUN", "RUN", "metric=[udr]"], "the same run is named twice"),
    (["RUN", "metric=[component_nmi]"], "no metric could be computed"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input_is_one_message(run, arguments, message):
    before = run.metrics()
    with pytest.raises(ConfigError, match=message) as error:
        evaluate([argument.replace("RUN", str(run.path)) for argument in arguments])
    assert "\n" not in str(error.value)
    assert run.metrics() == before


def test_a_folder_with_commas_and_equals_signs_is_a_path(run):
    assert paths([str(run.path), "metric=[mig]", f"run={run.path}"], "run") == ([run.path, run.path], ["metric=[mig]"])


def test_metrics_that_the_factors_do_not_allow_are_not_counted():
    everything, two = choose_metrics({}, "all"), np.array([[0, 1], [1, 0]])
    fits = everything.fitting(two, {})
    assert {"mig", "sparsity"} <= set(fits) <= everything.metrics.keys() - {"label_accuracy"}
    for one in (everything.fitting(two[:, :1], {}), everything.fitting(two, {"factors": ["posX"]})):
        assert {"label_accuracy", "sparsity"} <= set(one) <= everything.metrics.keys() - {"mig"}
    continuous = np.array([[0.1, 0.2], [0.3, 0.4]])
    assert "mig" not in everything.fitting(continuous, {})
    assert "mig" in everything.fitting(continuous, {"bins": 20})
    assert "mig" in choose_metrics({}, ["mig"]).fitting(two[:, :1], {})  # asked for by name


def test_without_a_choice_slow_metrics_wait_to_be_named():
    everything = choose_metrics({}, "all")
    assert "dci_forest" in everything.metrics
    assert "dci" not in everything.metrics
    chosen, _, _ = scoring_settings(["metric=[dci]"])
    assert choose_metrics(chosen, []).metrics.keys() == {"dci"}


def test_codes_of_another_program_are_scored_with_what_is_known_of_them(tmp_path, capsys):
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 4, size=(600, 3))
    with h5py.File(tmp_path / "codes.h5", "w") as file:
        file["codes"] = factors + 0.01 * rng.normal(size=(600, 3))
        file["factors"] = factors
        file["factor_names"] = ["hue", "size", "x"]
    score([str(tmp_path / "codes.h5"), "metric=[mig,sap]", f"json={tmp_path / 'scores.json'}"])
    printed = capsys.readouterr().out
    assert "mig/histogram" in printed
    assert "rotation" in printed
    found = json.loads((tmp_path / "scores.json").read_text())["metric"]["mig"]["scores"]
    assert found["histogram"]["model"]["value"] > 0.95
    assert found["histogram"]["rotation"]["value"] < 0.5
    assert "histogram/hue" in found


def test_a_runs_kept_codes_are_such_a_file_and_score_alike(run):
    chosen, _, how = scoring_settings(["metric=[mig]"])
    found = score_file(run.path / "encoding.h5", chosen, how)["metric"]["mig"]["scores"]
    assert found == run.scores()["metric"]["mig"]["scores"]


def test_continuous_factors_and_strings_are_scored_as_classes_where_that_is_asked_for(tmp_path):
    rng = np.random.default_rng(0)
    values, path = rng.random((300, 2)), tmp_path / "codes.npz"
    np.savez(path, codes=values, factors=values)
    chosen, _, how = scoring_settings(["metric=[mig]"])
    with pytest.raises(ConfigError, match=r"factor 0 must hold class indices, got 0\.\d+ .*: type score.bins=20"):
        score_file(path, chosen, how)
    chosen, _, how = scoring_settings(["metric=[mig]", "score.bins=20"])
    assert score_file(path, chosen, how)["metric-bins20"]["mig"]["scores"]["histogram"]["model"]["value"] > 0.5
    np.savez(path, codes=values, factors=np.array([["a", "x"], ["b", "y"], ["b", "x"]] * 100))
    with pytest.raises(ConfigError, match=r"score.bins=20 has no effect: no factor is continuous"):
        score_file(path, chosen, how)
    chosen, _, how = scoring_settings(["metric=[mig]"])
    assert score_file(path, chosen, how)["metric"]["mig"]["scores"]


def test_codes_without_factors_get_what_needs_none(tmp_path):
    np.savez(tmp_path / "codes.npz", codes=np.random.default_rng(0).normal(size=(300, 3)))
    chosen, _, how = scoring_settings([])
    found = score_file(tmp_path / "codes.npz", chosen, how)["metric"]
    assert {"sparsity", "gaussian_tc", "active_units"} <= found.keys()
    assert "mig" not in found


def test_a_constant_factor_fails_by_name_and_the_rest_is_scored(tmp_path, capsys):
    rng = np.random.default_rng(0)
    factors = np.stack([rng.integers(0, 3, 300), np.zeros(300, int)], axis=1)
    np.savez(tmp_path / "codes.npz", codes=rng.normal(size=(300, 3)), factors=factors, factor_names=["x", "colour"])
    score([str(tmp_path / "codes.npz"), "metric=[mig,sap,sparsity]"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "factor colour must take at least 2 values, got only 0" in printed
    assert "sparsity/hoyer" in printed


def test_collapsed_codes_score_zero_and_that_is_said(tmp_path, capsys):
    factors = np.random.default_rng(0).integers(0, 3, size=(300, 2))
    np.savez(tmp_path / "codes.npz", codes=np.full((300, 3), 0.2), factors=factors)
    score([str(tmp_path / "codes.npz"), "metric=[mig]", "score.controls=[]"])
    printed = capsys.readouterr().out
    assert "3 of 3 latents are constant: they carry no information" in printed
    assert "nan" not in printed


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": np.zeros((5, 2))}, r"must hold an array `codes` \(N, D\), got z"),
        ({"codes": np.zeros(5)}, r"codes must be \(N, D\)"),
        ({"codes": np.zeros((5, 2)), "factors": np.zeros((4, 1))}, r"factors must be \(5, K\).*got \(4, 1\)"),
        ({"codes": np.zeros((5, 2), bool)}, "real numbers, got bool"),
        ({"codes": np.zeros((0, 2))}, "at least 1 samples are needed, got 0"),
        ({"codes": np.array(3.0)}, r"codes must be \(N, D\)"),
        ({"codes": np.full((5, 2), np.nan)}, "finite"),
        ({"codes": np.zeros((5, 2)), "factors": np.zeros((5, 1)), "factor_names": np.array("a")}, "must be 1 names"),
        ({"codes": np.zeros((5, 2)), "factors": np.zeros((5, 1, 1))}, r"factors must be \(5, K\).*got \(5, 1, 1\)"),
        ({"codes": np.zeros((5, 2)), "factors": np.array([0, 1, 2, np.nan, 1])}, "factor 0 .* got nan in row 3"),
        (
            {"codes": np.zeros((5, 2)), "factors": np.full((5, 2), np.inf), "factor_names": ["x", "y"]},
            "factor x must hold class indices, got inf in row 0: leave such rows out",
        ),
        (
            {"codes": np.zeros((5, 2)), "factors": np.zeros((5, 2)), "factor_names": ["x", "x"]},
            "factors must have different names",
        ),
        ({"codes": np.zeros((5, 2)), "population": np.array("many")}, "population must be a whole number"),
        ({"codes": np.zeros((5, 2)), "population": np.array(3)}, "population must be .* at least 5, got 3"),
        ({"codes": np.zeros((5, 2)), "controls/pca": np.zeros((4, 2))}, r"controls/pca must be \(5, D\)"),
    ],
)
def test_a_file_of_the_wrong_shape_is_named(tmp_path, arrays, message):
    np.savez(tmp_path / "codes.npz", **arrays)
    with pytest.raises(ConfigError, match=message):
        score([str(tmp_path / "codes.npz")])


def test_a_file_that_declares_twelve_gigabytes_is_one_line_and_exit_2(tmp_path):
    with h5py.File(tmp_path / "codes.h5", "w") as file:
        file.create_dataset("codes", (1_500_000, 1000), "f8", chunks=(1000, 1000))
    command = [sys.executable, "-m", "disvae.score", str(tmp_path / "codes.h5")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "found 12,000,000,000 bytes of arrays in a file of 1,400, more than 100 times as many" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("target", ["", "/nowhere/scores.json"])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_computed(tmp_path, target):
    with pytest.raises(ConfigError, match="must be a file in an existing folder"):
        score([str(tmp_path / "codes.npz"), f"json={target}"])


DAMAGE = {
    "config.yaml": ("", "config.yaml is not what was written"),
    "last.ckpt": ("nothing", "last.ckpt cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_of_a_run_is_named(run, name):
    content, message = DAMAGE[name]
    (run.path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        evaluate([str(run.path), "metric=[mig]"])


@pytest.mark.parametrize("asked", [["metric=[sparsity]"], ["metric=[udr]"], ["figure=[traversal]"]])
def test_a_flipped_bit_in_the_weights_is_found_and_the_scores_stay(run, trained, asked):
    content = bytearray(run.last.read_bytes())
    content[len(content) // 2] ^= 1
    run.last.write_bytes(content)
    before = [(run.path / name).read_bytes() for name in ("scores.json", "metrics.json", "encoding.h5")]
    others = [str(trained.path)] * (asked == ["metric=[udr]"])
    with pytest.raises(ConfigError, match=r"last\.ckpt cannot be read \(.* checksum .*\): delete it and repeat"):
        evaluate([str(run.path), *others, *asked])
    assert [(run.path / name).read_bytes() for name in ("scores.json", "metrics.json", "encoding.h5")] == before


def test_a_checkpoint_of_another_configuration_is_refused(run):
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("z_dim: 3", "z_dim: 4"))
    (run.path / "digests.json").unlink()  # otherwise the edit itself is noticed
    with pytest.raises(ConfigError, match=r"last\.ckpt does not fit the configuration"):
        evaluate([str(run.path), "metric=[mig]"])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("split.held_out=0", "score.images=held_out"), "this run has no held_out images"),
        (("prior=mixture", "score.transport=true"), "score.transport=true: prior must factorise"),
    ],
)
def test_what_cannot_be_scored_is_refused_before_it_is_trained(composed, tmp_path, monkeypatch, overrides, message):
    monkeypatch.setattr(VAEModule, "training_step", lambda *args: pytest.fail("a step was made"))
    with pytest.raises(ConfigError, match=message):
        train_run(Job(Run(tmp_path / "run"), resolved(composed(*SPRITES, *SHORT, *overrides)), brief=True))


def test_the_untrained_control_goes_the_way_of_the_model(composed, tmp_path, capsys):
    run = Run(tmp_path / "run")
    train_run(Job(run, resolved(composed(*SPRITES, *SHORT, "prior=student_t", "metric=[]", "final=[]")), brief=True))
    for setting in ("score.transport=true", "score.codes=sample", "score.seed=0"):
        evaluate([str(run.path), "metric=[sparsity]", "score.controls=[untrained,pca]", setting])
    found = {name: entries["sparsity"]["scores"]["hoyer_raw"] for name, entries in run.scores().items()}
    assert len({of["untrained"]["value"] for of in found.values()}) == 3
    assert len({of["pca"]["value"] for of in found.values()}) == 1


@pytest.mark.slow
def test_sigterm_ends_evaluate_in_order_and_leaves_no_process(run):
    command = [sys.executable, "-m", "disvae.evaluate", str(run.path), "metric=[dci]", "score.repeats=50"]
    started = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "2"}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def workers() -> list[int]:
        found = subprocess.run(["ps", "-eo", "pid=,sid="], capture_output=True, text=True, check=True).stdout
        return [int(pid) for pid, sid in map(str.split, found.splitlines()) if int(sid) == started.pid]

    deadline = time.monotonic() + 60
    while len(workers()) < 3 and time.monotonic() < deadline:
        time.sleep(0.2)
    time.sleep(2)
    started.send_signal(signal.SIGTERM)
    _, said = started.communicate(timeout=60)
    assert started.returncode == 143
    assert said.splitlines()[-1] == "disvae: SIGTERM; what was scored is kept"
    assert "Traceback" not in said
    deadline = time.monotonic() + 20
    while workers() and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not workers()


def test_settings_of_runs_are_refused_for_files(tmp_path):
    np.savez(tmp_path / "codes.npz", codes=np.zeros((5, 2)))
    with pytest.raises(ConfigError, match=r"score\.images=all applies to runs"):
        score([str(tmp_path / "codes.npz"), "score.images=all"])


def test_a_run_stopped_while_it_is_scored_is_scored_by_the_same_command(composed, tmp_path, monkeypatch):
    config = resolved(composed(*SPRITES, *SHORT, "metric=[mig]", "final=[sparsity]"))
    whole, stopped = Run(tmp_path / "whole"), Run(tmp_path / "stopped")
    train_run(Job(whole, config, brief=True))

    def interrupt(*args, **kwargs):
        os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr("disvae.evaluation.run_scores.compute_scores", interrupt)
        with pytest.raises(Stopped, match="the same command continues it"):
            train_run(Job(stopped, config, brief=True))
    assert stopped.status()["state"] == "interrupted"
    assert "val/elbo" in stopped.metrics()  # what was computed is kept
    train_run(Job(stopped, config, brief=True))
    assert stopped.status()["state"] == "finished"
    assert stopped.metrics() == whole.metrics()


def test_scores_of_earlier_weights_do_not_stay_beside_later_ones(composed, tmp_path, monkeypatch, caplog):
    run = Run(tmp_path / "run")
    config = resolved(composed(*SPRITES, *SHORT, "metric=[]", "final=[sparsity]", "checkpoint_every=2"))
    original = VAEModule.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, batch, batch_idx)

    with monkeypatch.context() as patch:
        patch.setattr(VAEModule, "training_step", training_step)
        with pytest.raises(Stopped):
            train_run(Job(run, config, brief=True))
    evaluate([str(run.path), "metric=[mig]"])  # of a run that is not finished
    assert run.scores()["metric"]["mig"]["protocol"]["step"] == 4
    evaluate([str(run.path), "metric=[sparsity]"])
    assert run.scores()["metric"].keys() == {"mig", "sparsity"}
    assert "dropped" not in caplog.text
    train_run(Job(run, config, brief=True))
    assert run.scores()["metric"].keys() == {"sparsity"}
    assert not any("mig" in tag for tag in run.metrics())
    dropped = f"dropped from {run.path / 'scores.json'}, because last.ckpt has changed: metric/mig"
    assert [record.message for record in caplog.records if "dropped" in record.message] == [dropped]


def command_line(composed, *overrides: str) -> None:
    cfg = composed(*overrides)
    choices = {"dataset": "sprites", "objective": "beta_vae"}
    train(cfg, overrides, choices, brief=True)


def test_metrics_are_no_part_of_a_runs_identity_and_are_computed_when_asked_for_later(composed, tmp_path, monkeypatch):
    usual = (*SPRITES, *SHORT, f"out={tmp_path}")
    command_line(composed, *usual, "final=[sparsity]")
    (folder,) = (tmp_path / "sprites").glob("*-*")
    before = Run(folder).metrics()
    monkeypatch.setattr("disvae.training.loop.train_run", lambda *args, **kwargs: pytest.fail("trained again"))
    command_line(composed, *usual, "metric=[gaussian_tc]", "score.repeats=3")
    assert [folder] == list((tmp_path / "sprites").glob("*-*"))
    after = Run(folder).metrics()
    assert "metric/gaussian_tc/total_correlation" in after
    assert {tag: after[tag] for tag in before} == before
    assert "metric" not in folder.name


def test_a_metric_that_is_not_available_while_training_says_so_once(composed, tmp_path, caplog):
    run = Run(tmp_path / "run")
    overrides = ("dataset=clusters", "steps=9", "eval_every=2", "metric=[higgins]", "final=[]")
    train_run(Job(run, resolved(composed(*overrides)), overrides, brief=True))
    assert caplog.text.count("metric higgins is not available: at least 2 factors are needed, got 1") == 1
    assert run.status()["state"] == "finished"
    assert run.scores()["metric"]["higgins"]["failed"]["model"] == "at least 2 factors are needed, got 1"


def test_the_usual_metrics_are_silent_where_they_are_not_for_the_data(composed, tmp_path, caplog):
    run = Run(tmp_path / "run")
    config = resolved(composed("dataset=clusters", "steps=4", "eval_every=2", "final=[sparsity]"))
    train_run(Job(run, config, brief=True))
    assert "not available" not in caplog.text
    assert run.scored() == {"sparsity"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("final=[migg]", "final must be all or a list of"),
        ("final=some", "final must be all or a list of"),
        ("score.seed=-1", "score.seed must be"),
        ("score.transport=1", "score.transport must be true or false, got 1"),
        ("score.codes=median", "score.codes must be mean or sample"),
    ],
)
def test_bad_settings_of_scores_stop_before_training(composed, tmp_path, override, message):
    with pytest.raises(ConfigError, match=message):
        command_line(composed, *SPRITES, *SHORT, f"out={tmp_path}", override)
    assert not list(tmp_path.iterdir())


def test_a_run_that_cannot_be_scored_does_not_stop_the_others(run, tmp_path, capsys):
    bad, ended = tmp_path / "bad[/x]", tmp_path / "ended"
    shutil.copytree(run.path, bad)
    (bad / "last.ckpt").write_bytes(b"damaged")
    shutil.copytree(run.path, ended, ignore=shutil.ignore_patterns("*.ckpt"))  # it failed before its first checkpoint
    before = run.scores()["metric"].keys()
    with pytest.raises(ConfigError, match="2 of 3 runs could not be scored or drawn: see above"):
        evaluate([str(bad), str(ended), str(run.path), "metric=[modularity]"])
    assert run.scores()["metric"].keys() - before == {"modularity"}
    said = capsys.readouterr().err
    assert f"disvae: {bad / 'last.ckpt'} cannot be read" in said
    assert f"disvae: {ended} is not the folder of a trained run: config.yaml or last.ckpt is missing" in said


def test_damaged_scores_are_written_again(run, capsys):
    (run.path / "scores.json").write_text((run.path / "scores.json").read_text().replace("1", "2"))
    with pytest.raises(
        ConfigError, match=r"scores\.json is not what was written \(damaged\?\): python -m disvae\.evaluate"
    ):
        run.scores()
    evaluate([str(run.path), "metric=[active_units]"])
    assert run.scores()["metric"].keys() == {"active_units"}


def test_a_path_with_brackets_is_printed_as_it_is_and_quoted_for_a_shell(run, tmp_path, capsys):
    (tmp_path / "it's [").mkdir()
    moved = run.path.rename(tmp_path / "it's [" / "x]")
    print_result(Run(moved))
    said = capsys.readouterr().out
    assert f"Run folder:   {moved}\n" in said
    assert f"tensorboard --logdir {shlex.quote(str(moved))}\n" in said
