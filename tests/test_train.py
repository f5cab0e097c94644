"""What a run promises: the same numbers however often it was stopped, and nothing computed is lost."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from disvae.config import ConfigError, resolved
from disvae.objective.beta_vae import BetaVAE
from disvae.runs.checkpoint import load, save
from disvae.runs.folder import Run
from disvae.runs.tags import logged
from disvae.runs.terminal import print_result
from disvae.training.callbacks import Seconds
from disvae.training.job import Job
from disvae.training.loop import train_run
from disvae.training.module import Evaluation, VAEModule
from disvae.training.parts import prepare
from disvae.training.run_trainer import Stopped

SMALL_SPRITES = ("dataset=sprites", "dataset.orientations=4", "dataset.positions=4", "dataset.scales=2")


@pytest.fixture
def trained(composed, tiny, tmp_path):
    """Train a tiny configuration in a folder of `tmp_path`; further calls with the same name go on in it."""

    def train(name: str, *overrides: str, force: bool = False) -> Run:
        run = Run(tmp_path / name)
        train_run(Job(run, resolved(composed(*tiny, *overrides)), force=force, brief=True))
        return run

    return train


def stop_at(monkeypatch, step: int, signum: int = signal.SIGTERM) -> None:
    """Let a signal arrive in the middle of a step, once."""
    original = VAEModule.configure_gradient_clipping
    sent = []

    def clip(self, *arguments, **settings):
        if self.global_step == step and not sent:
            sent.append(step)
            os.kill(os.getpid(), signum)
        original(self, *arguments, **settings)

    monkeypatch.setattr(VAEModule, "configure_gradient_clipping", clip)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.last)["state_dict"]


def scores(run: Run) -> dict[str, float]:
    return json.loads((run.path / "metrics.json").read_text())


GAN = ("objective=infogan", "prior=uniform", "posterior=joint")
FACTOR_VAE = ("objective=factor_vae", "objective.width=50")  # its classifier is published with 1000 units a layer


@pytest.mark.parametrize(
    ("overrides", "stop"),
    [
        *((("objective=beta_tc",), stop) for stop in (0, 3, 9, 10, 16)),
        *((FACTOR_VAE, stop) for stop in (3, 9, 16)),
        *((GAN, stop) for stop in (9, 16)),
    ],
)
def test_a_resumed_run_equals_the_uninterrupted_one_to_the_bit(trained, monkeypatch, overrides, stop):
    whole = trained("whole", *overrides, "batch_size=50")
    stop_at(monkeypatch, stop)
    with pytest.raises(Stopped) as stopped:
        trained("stopped", *overrides, "batch_size=50")
    assert stopped.value.exit_status == 128 + signal.SIGTERM
    run = Run(whole.path.parent / "stopped")
    assert run.status()["state"] == "interrupted"
    assert run.status()["step"] == stop + 1
    trained("stopped", *overrides, "batch_size=50")
    for name, expected in weights(whole).items():
        assert torch.equal(weights(run)[name], expected), name
    assert scores(run) == scores(whole)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_and_its_exit_status(trained, monkeypatch, tmp_path, signum):
    stop_at(monkeypatch, 5, signum)
    with pytest.raises(Stopped, match="the same command continues it") as stopped:
        trained("run")
    assert stopped.value.exit_status == 128 + signum
    assert load(Run(tmp_path / "run").last)["global_step"] == 6


def test_same_seed_same_numbers_other_seed_others(trained):
    assert scores(trained("a", "seed=1")) == scores(trained("b", "seed=1"))
    assert scores(trained("c", "seed=2")) != scores(trained("a2", "seed=1"))


def test_a_run_killed_between_its_last_step_and_its_scores_ends_with_the_same_numbers(trained):
    run = trained("run")
    expected = scores(run)
    (run.path / "metrics.json").unlink()
    run.mark("running", 20)
    trained("run")
    assert scores(run) == expected


def test_force_repeats_a_run_from_its_start(trained):
    run = trained("run")
    expected, before = scores(run), run.last.stat().st_mtime_ns
    trained("run", force=True)
    assert run.last.stat().st_mtime_ns > before
    assert scores(run) == expected


def files(folder: Path) -> dict[str, bytes]:
    """What a run's folder holds, without its lock and its repeat."""
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != ".lock" and not name.startswith(".new/")}


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("batch_size=100000",), "batch_size must be at most"),
        (("dataset=fashion_mnist", "dataset.path=gone"), "gone"),
        ((*SMALL_SPRITES, "model=mlp"), "the cache folder .* cannot be used"),
    ],
)
def test_a_repeat_that_cannot_be_built_leaves_the_finished_run_as_it_is(
    trained, monkeypatch, tmp_path, overrides, said
):
    run = trained("run")
    (run.path / ".ipynb_checkpoints").mkdir()
    (run.path / ".ipynb_checkpoints" / "notes-checkpoint.txt").write_text("mine")
    before = files(run.path)
    (tmp_path / "cache").write_text("a file, in which nothing can be kept")
    monkeypatch.setenv("DISVAE_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match=said):
        trained("run", *overrides, force=True)
    assert files(run.path) == before
    assert run.finished()
    trained("run", force=True)
    assert run.finished()


def test_a_finished_repeat_leaves_nothing_of_the_old_run_and_all_that_is_the_users(trained):
    run = trained("run", "beta=2", "final=[sparsity]", "final_figures=[aggregate_posterior]", "report=true")
    (run.path / "encoding-all.h5").write_text("old")
    (run.path / "explore.html").write_text("old")
    mine = {"notes.txt": b"mine", "figures/mine.pdf": b"mine", "own/status.json": b"mine", "log.txt": b"log"}
    for name, content in mine.items():
        (run.path / name).parent.mkdir(exist_ok=True)
        (run.path / name).write_bytes(content)
    old = files(run.path)
    again = trained("run", "beta=2", "metric=[]", force=True)
    new = files(again.path)
    assert {name: new.pop(name) for name in mine} == mine
    assert new.keys() == {
        "config.yaml", "provenance.json", "status.json", "metrics.json", "digests.json", "last.ckpt", "best.ckpt",
        *(name for name in new if name.startswith("events.out.tfevents.")),
    }  # fmt: skip
    assert all(old.get(name) != content for name, content in new.items() if name.startswith("events"))
    assert len(again.provenance()["sessions"]) == 1
    assert [step for step, _ in curve(again, "train/loss")] == [5, 10, 15, 20]
    assert not {".new", ".done"} & {path.name for path in run.path.iterdir()}


KILLED = """
import json, os, signal, sys
from pathlib import Path
from disvae.runs.folder import Run
from disvae.training.job import Job
from disvae.training.loop import train_run
from disvae.training.module import VAEModule

clip = VAEModule.configure_gradient_clipping

def clip_or_die(self, *arguments, **settings):
    if self.global_step == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    clip(self, *arguments, **settings)

VAEModule.configure_gradient_clipping = clip_or_die
train_run(Job(Run(Path(sys.argv[1])), json.loads(sys.argv[2]), force=True, brief=True))
"""


def test_kill_in_a_repeat_leaves_the_finished_run_and_the_same_command_continues_the_repeat(trained):
    settings = ("checkpoint_every=5", "log_every=1")
    run = trained("run", *settings)
    before, loss = files(run.path), curve(run, "train/loss")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(run.path), json.dumps(run.config())], env=environment, timeout=120
    )
    assert killed.returncode == -signal.SIGKILL
    trained("run", *settings)  # nothing is left to do
    assert files(run.path) == before
    assert run.finished()
    repeat = run.place(force=True)
    assert (repeat.state(), repeat.status()["step"]) == ("killed", 10)
    trained("run", *settings, force=True)
    after = files(run.path)
    assert after["metrics.json"] == before["metrics.json"]
    assert [session["data_checksum"] for session in run.provenance()["sessions"]] == [
        json.loads(before["provenance.json"])["sessions"][0]["data_checksum"]
    ] * 2, "the session that was killed and the one that went on with it"
    assert curve(run, "train/loss") == loss
    assert not repeat.path.exists()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_with_step_term_and_a_finite_checkpoint(trained, monkeypatch, tmp_path, bad):
    original = BetaVAE.forward

    def forward(self, draw):
        terms = original(self, draw)
        spoiled = {"kl": terms["kl"] * bad, "loss": terms["loss"] * bad}
        return terms | spoiled if draw.step == 13 else terms

    monkeypatch.setattr(BetaVAE, "forward", forward)
    with pytest.raises(Stopped, match=r"step 13: .*kl = .*last good checkpoint") as stopped:
        trained("run", "checkpoint_every=5")
    assert stopped.value.exit_status == 4
    run = Run(tmp_path / "run")
    assert run.status()["state"] == "diverged"
    assert load(run.last)["global_step"] == 10
    assert all(value.isfinite().all() for value in weights(run).values())


def test_a_run_goes_on_from_a_checkpoint_of_another_device(trained, monkeypatch):
    whole = trained("whole")
    stop_at(monkeypatch, 9)
    with pytest.raises(Stopped):
        trained("run")
    run = Run(whole.path.parent / "run")
    content = load(run.last)
    for group in content["optimizer_states"][0]["param_groups"]:
        group["capturable"] = True  # as on a GPU; torch refuses it here
    save(content, run.last)
    trained("run")
    assert scores(run) == scores(whole)


@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_a_damaged_checkpoint_is_named_and_nothing_is_overwritten(trained, damage):
    run = trained("run")
    whole = run.last.read_bytes()
    broken = {"empty": b"", "cut": whole[: len(whole) // 2], "text": b"no checkpoint"}[damage]
    run.last.write_bytes(broken)
    run.mark("interrupted", 10)  # one that is finished needs it no more
    with pytest.raises(ConfigError, match=r"last\.ckpt cannot be read"):
        trained("run")
    assert run.last.read_bytes() == broken


def test_a_checkpoint_that_would_run_code_is_refused(trained):
    run = trained("run")
    torch.save({"global_step": 1, "x": Path}, run.last)
    run.mark("interrupted", 10)
    with pytest.raises(ConfigError, match="cannot be read"):
        trained("run")


def test_the_run_folder_is_complete_and_its_events_hold_every_term(trained):
    run = trained("run", "objective=decomposition", "alpha=2", "divergence=mmd", "beta=0.5")
    names = {path.name for path in run.path.iterdir()}
    assert {"config.yaml", "provenance.json", "status.json", "metrics.json", "last.ckpt", "best.ckpt"} <= names
    assert run.status()["state"] == "finished"
    (session,) = run.provenance()["sessions"]
    assert session["wall_s"] > 0
    assert session["data_checksum"]
    assert run.config()["objective"]["divergence"]["_target_"].startswith("disvae.divergence.mmd")
    events = EventAccumulator(str(run.path))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    for term in ("loss", "reconstruction", "kl", "elbo", "beta", "alpha"):
        assert logged({f"train/{term}": 0, f"val/{term}": 0}).keys() <= tags
    assert {
        "val/overlap/mutual_information",
        "val/overlap/entropy",
        "val/structure/kl_qz_pz",
        "val/structure/kl_pz_qz",
        "val/structure/mmd",
        "val/active_units",
    } <= tags
    assert [point.step for point in events.Scalars("while_training/loss")] == [5, 10, 15, 20]
    assert events.Scalars("while_training/alpha")[0].value == 2


def curve(run: Run, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(run.path))
    events.Reload()
    return [(point.step, point.value) for point in events.Scalars(*logged({tag: 0}))]


class Killed(BaseException):
    """Stands for kill -9: nothing is written on the way out but what was written before."""


@pytest.mark.parametrize("how", ["signal", "kill"])
@pytest.mark.parametrize("stop", [4, 9, 12, 17])
def test_curves_and_best_checkpoint_of_a_resumed_run_are_those_of_the_uninterrupted_one(
    trained, monkeypatch, tmp_path, stop, how
):
    settings = ("log_every=1", "eval_every=5", "checkpoint_every=10", "beta=0.1", "seed=3")
    whole = trained("whole", *settings)
    if how == "signal":
        stop_at(monkeypatch, stop)
    else:
        original = VAEModule.configure_gradient_clipping
        struck = []

        def clip(self, *arguments, **settings):
            if self.global_step == stop and not struck:
                struck.append(stop)
                raise Killed
            original(self, *arguments, **settings)

        monkeypatch.setattr(VAEModule, "configure_gradient_clipping", clip)
    with pytest.raises((Stopped, Killed)):
        trained("stopped", *settings)
    resumed = trained("stopped", *settings)
    for tag in ("train/loss", "val/elbo"):
        assert curve(resumed, tag) == curve(whole, tag)
    assert load(resumed.best)["global_step"] == load(whole.best)["global_step"]
    assert scores(resumed) == scores(whole)


def test_a_signal_while_scoring_stops_at_once_and_loses_nothing(trained, monkeypatch, tmp_path):
    expected = scores(trained("whole", "eval_every=7"))
    original = Evaluation.close
    sent = []

    def close(self):
        if self.step == 20 and not sent:
            sent.append(True)
            os.kill(os.getpid(), signal.SIGTERM)
        original(self)

    monkeypatch.setattr(Evaluation, "close", close)
    with pytest.raises(Stopped) as stopped:
        trained("run", "eval_every=7")
    assert stopped.value.exit_status == 143
    assert Run(tmp_path / "run").status()["state"] == "interrupted"
    assert scores(trained("run", "eval_every=7")) == expected


def test_a_signal_after_the_last_step_is_obeyed_before_scoring(trained, monkeypatch, tmp_path):
    expected = scores(trained("whole"))
    over = Seconds.on_validation_end

    def over_and_signal(self, trainer, pl_module):
        over(self, trainer, pl_module)
        if trainer.state.fn == "fit" and trainer.global_step == 20:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Seconds, "on_validation_end", over_and_signal)
        with pytest.raises(Stopped) as stopped:
            trained("run")
    assert stopped.value.exit_status == 143
    assert Run(tmp_path / "run").status()["state"] == "interrupted"
    assert scores(trained("run")) == expected


def test_a_run_that_diverges_keeps_its_curve_up_to_there(trained, monkeypatch, tmp_path):
    original = VAEModule.configure_gradient_clipping

    def clip_and_break(self, *arguments, **settings):
        original(self, *arguments, **settings)
        if self.global_step == 12:
            with torch.no_grad():
                next(self.parameters()).fill_(torch.nan)

    monkeypatch.setattr(VAEModule, "configure_gradient_clipping", clip_and_break)
    with pytest.raises(Stopped, match="step 13: "):
        trained("run", "log_every=1")
    assert [step for step, _ in curve(Run(tmp_path / "run"), "train/loss")] == list(range(1, 14))


def test_changed_data_are_not_mixed_into_a_run(trained, monkeypatch, tmp_path):
    run = trained("run")
    for name in ("metrics.json", "digests.json"):
        (run.path / name).unlink()
    session = run.provenance()["sessions"][0] | {"data_checksum": "another"}
    (run.path / "provenance.json").write_text(json.dumps({"sessions": [session]}))
    for _ in range(2):
        with pytest.raises(ConfigError, match="images have changed"):
            trained("run")
        assert run.provenance()["sessions"] == [session]


def test_bfloat16_is_for_the_networks_and_scores_are_finite(trained):
    run = trained("run", "trainer.precision=bf16-mixed", "objective=decomposition", "divergence=mmd", "alpha=1")
    assert all(abs(value) < float("inf") for value in scores(run).values())


def test_gradients_are_clipped_to_the_norm_asked_for(trained, monkeypatch):
    norms = []
    original = VAEModule.configure_gradient_clipping

    def clip(self, *arguments, **settings):
        original(self, *arguments, **settings)
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norms.append(torch.nn.utils.get_total_norm(gradients).item())

    monkeypatch.setattr(VAEModule, "configure_gradient_clipping", clip)
    trained("run", "trainer.gradient_clip_val=0.5")
    assert max(norms) == pytest.approx(0.5, rel=1e-3)


def test_the_end_says_where_the_time_went(trained, capsys):
    run = trained("run")
    seconds = run.provenance()["sessions"][0]["seconds"]
    assert seconds.keys() == {"training", "validation", "checkpoints, curves and the rest", "scores"}
    assert all(part >= 0 for part in seconds.values())
    print_result(run)
    if sum(seconds.values()):
        assert re.search(r"Time: +\d+:\d\d: training \d+%, validation \d+%", capsys.readouterr().out)


@pytest.mark.parametrize("eval_every", [5, 7, 100])
def test_best_checkpoint_holds_the_best_validation_elbo(trained, eval_every):
    run = trained("run", f"eval_every={eval_every}")
    elbos = dict(curve(run, "val/elbo"))
    assert load(run.best)["global_step"] == max(elbos, key=elbos.get)


def command(*arguments: str, cwd: Path, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-m", "disvae.train", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=240, **options,
    )  # fmt: skip


def test_command_line_trains_resumes_nothing_and_says_where_it_is(tiny, tmp_path):
    first = command(*tiny, "objective=beta_tc", "beta=6", "batch_size=50", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    folder = next((tmp_path / "outputs" / "clusters").glob("*objective=beta_tc,beta=6*"))
    said = first.stdout.replace("\n", "")
    assert f"tensorboard --logdir outputs/clusters/{folder.name}" in said
    assert "total_correlation" in said
    assert "Traceback" not in first.stderr
    again = command(*tiny, "objective=beta_tc", "beta=6.0", "batch_size=50", cwd=tmp_path)
    assert again.returncode == 0
    assert "Already finished" in again.stdout


def test_bad_input_is_one_message_naming_the_key(tmp_path):
    done = command("dataset=clusters", "beta=-1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "disvae: beta must be a finite number >= 0, got -1\n"
    assert not (tmp_path / "outputs").exists()


def test_a_sweep_goes_on_past_a_job_that_cannot_be(tiny, tmp_path):
    done = command("-m", *tiny, "objective=beta_vae,beta_tc", "beta=-1,2", "batch_size=50", cwd=tmp_path)
    assert done.returncode != 0
    assert "beta must be a finite number >= 0, got -1" in done.stdout  # in the table of the sweep
    assert "Traceback" not in done.stderr
    finished = [Run(path.parent).status()["state"] for path in (tmp_path / "outputs/clusters").glob("*/status.json")]
    assert finished == ["finished", "finished"]


def test_preview_draws_the_schedules_and_trains_nothing(tiny, tmp_path):
    done = command(*tiny, "preview=schedule", "schedule@schedule.beta=linear", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outputs" / "schedule.png").stat().st_size > 10_000
    assert not (tmp_path / "outputs" / "clusters").exists()


def test_shell_completion_offers_the_options(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "COMP_LINE": "disvae-train objective=b"}
    done = subprocess.run(
        [sys.executable, "-c", "from disvae.train import main; main()", "-sc", "query=bash"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert set(done.stdout.split()) == {"objective=beta_tc", "objective=beta_vae"}


def test_what_is_made_at_the_end_is_what_final_names_and_what_was_typed(composed, tiny, tmp_path):
    usual = ("metric=[mig,sap]", "figure=[reconstruction]")

    def at_end(*overrides: str, typed: bool) -> tuple[set[str], set[str]]:
        asked = overrides if typed else ()
        parts = prepare(Job(Run(tmp_path), resolved(composed(*tiny, *usual, *overrides)), (*usual, *asked) * typed))
        return set(parts.at_end.metrics), set(parts.at_end_figures.figures)

    assert at_end("final=[]", "final_figures=[]", typed=False) == (set(), set())
    assert at_end("final=[sap]", "final_figures=[traversal]", typed=False) == ({"sap"}, {"traversal"})
    assert at_end("final=[dci_forest]", typed=True) == ({"mig", "sap", "dci_forest"}, {"reconstruction"})


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("beta=1e30",), r"diverged at step 0: .*every term is finite.* Try a smaller beta, which is 1e\+30$"),
        (("optimizer.lr=1e30",), r"diverged at step 1: (?!loss|elbo|gradient).* Try a lower optimizer.lr$"),
    ],
)
def test_a_divergence_names_the_term_and_what_to_change(trained, overrides, said):
    with pytest.raises(Stopped, match=said):
        trained("run", *overrides)
