"""How runs end: finished with a page and events that are there once, diverged, out of memory, or killed in between."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from disvae.config import ConfigError, resolved
from disvae.logger.tensorboard import TensorBoard
from disvae.runs.folder import Run
from disvae.system.instantiate import make
from disvae.training import run_trainer
from disvae.training.callbacks import Checkpoints, CollapseGuard, Member, StopOnSignal
from disvae.training.job import Job, packable
from disvae.training.job_group import train_jobs
from disvae.training.loop import train_run
from disvae.training.module import Evaluation, VAEModule
from disvae.training.run_trainer import RunTrainer, Stopped

SMALL = (
    "dataset=clusters",
    "model.encoder_hidden=[4]",
    "model.decoder_hidden=[4]",
    "steps=4",
    "eval_every=2",
    "checkpoint_every=2",
    "eval_images=100",
    "final=[]",
    "metric=[]",
)


@pytest.fixture
def job(composed, tmp_path):
    """Return a function that makes a job of a small run in a folder of `tmp_path`."""

    def make(name: str, *overrides: str) -> Job:
        return Job(Run(tmp_path / name), resolved(composed(*SMALL, *overrides)), brief=True)

    return make


class Killed(BaseException):
    """Stands for kill -9."""


def points(run: Run) -> list[tuple[str, int]]:
    """The tag and step of each scalar that TensorBoard shows."""
    events = EventAccumulator(str(run.path)).Reload()
    return [(tag, point.step) for tag in events.Tags()["scalars"] for point in events.Scalars(tag)]


def test_whoever_is_killed_at_the_end_gets_the_page_and_each_event_once_from_the_same_command(job):
    made = job("run", "final=[sparsity]", "score.controls=[]", "score.repeats=2", "report=true")

    def killing(do):
        def change(*arguments, **options):
            if "finished" in arguments:  # all is written but the state
                raise Killed
            done = do(*arguments, **options)
            if do is not mark:
                raise Killed
            return done

        return change

    mark = Run.mark
    for place, name in ((run_trainer, "evaluate_run"), (RunTrainer, "close"), (Run, "mark")):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunTrainer, "failure", lambda run, error: error)
            patch.setattr(place, name, killing(getattr(place, name)))
            with pytest.raises(Killed):
                train_run(made)
        assert made.remaining() == "training"
    assert train_run(made)
    assert made.run.finished()
    page = made.run.report.read_text(encoding="utf-8")
    assert "finished at step 4 of 4" in page
    found = points(made.run)
    assert len(found) == len(set(found))
    assert {("val/elbo", 4), ("verbose/metric/sparsity/hoyer", 4)} <= set(found)


@pytest.mark.parametrize(
    ("hook", "step"),
    [("setup", 0), ("on_fit_start", 0), ("on_train_batch_end", 2), ("on_train_end", 4), ("teardown", 4)],
)
@pytest.mark.parametrize("number", [1, 2])
def test_a_signal_waits_until_lightning_is_set_up_or_has_cleaned_up(job, monkeypatch, hook, step, number):
    """Lightning's clean-up after half a set-up is an error of its own, by which the run had failed."""
    jobs = [job(f"run{i}", f"seed={i}") for i in range(number)]
    went_on = []

    def signalled(stop, trainer, *arguments, **options):
        if trainer.state.fn == "fit" and trainer.global_step == step:
            signal.raise_signal(signal.SIGTERM)
            went_on.append(hook)

    outcomes = []
    with monkeypatch.context() as patch:
        patch.setattr(StopOnSignal, hook, signalled)
        train_jobs(jobs, lambda i: None, lambda i, outcome: outcomes.append(outcome))
    assert went_on == [hook]
    assert [(type(outcome), outcome.exit_status) for outcome in outcomes] == [(Stopped, 143)] * number
    for each in jobs:
        status = each.run.status()
        assert (status["state"], status["step"]) == ("interrupted", step)
    train_jobs(jobs, lambda i: None, lambda i, outcome: outcomes.append(outcome))
    assert outcomes[number:] == [True] * number


@pytest.mark.parametrize("number", [1, 2])
def test_an_error_that_a_signal_causes_while_a_run_is_built_is_no_failure(job, monkeypatch, number):
    def provenance(*arguments):
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            raise RuntimeError("half of it is made")

    monkeypatch.setattr(run_trainer, "provenance", provenance)
    jobs, outcomes = [job(f"run{i}", f"seed={i}") for i in range(number)], []
    train_jobs(jobs, lambda i: None, lambda i, outcome: outcomes.append(outcome))
    assert [(type(outcome), outcome.exit_status) for outcome in outcomes] == [(Stopped, 143)] * number
    assert jobs[0].run.status()["state"] == "interrupted"


def test_weights_that_overflow_before_a_validation_are_a_divergence(job):
    made = job("run", "optimizer.lr=1e39", "eval_every=1")
    with pytest.raises(Stopped, match=r"training diverged at step \d: the weight .* is not finite") as stopped:
        train_run(made)
    assert stopped.value.exit_status == 4
    assert made.run.status()["state"] == "diverged"
    assert not made.run.last.exists()


def ended(*jobs: Job) -> list[bool | BaseException]:
    outcomes: dict[int, bool | BaseException] = {}
    train_jobs(jobs, lambda i: None, outcomes.__setitem__)
    return [outcomes[i] for i in range(len(jobs))]


def test_a_failure_of_one_packed_run_ends_that_run_only(job, monkeypatch):
    jobs = [job(f"seed={seed}", f"seed={seed}", "split.held_out=0.1", "batch_size=100") for seed in range(6)]
    write, log, add, close = Checkpoints.write, TensorBoard.log_metrics, Evaluation.add, Evaluation.close

    def failing_write(checkpoints, trainer, path):
        if path == jobs[1].run.last and trainer.global_step == 2:
            raise ConfigError(f"cannot write {path}")
        write(checkpoints, trainer, path)

    def failing_log(logger, values, step):
        if "seed=2" in str(logger.save_dir) and step == 4:
            raise OSError("no room for events")
        log(logger, values, step)

    def failing_evaluation(evaluation, batch):
        if evaluation.module.seed == 4 and evaluation.step == 2:
            raise ValueError("no divergence of this posterior")
        add(evaluation, batch)

    def failing_held_out(evaluation):
        if evaluation.module.seed == 5 and evaluation.module.evaluated_at == 4:
            raise ValueError("no aggregate of these codes")
        close(evaluation)

    monkeypatch.setattr(Checkpoints, "write", failing_write)
    monkeypatch.setattr(TensorBoard, "log_metrics", failing_log)
    monkeypatch.setattr(Evaluation, "add", failing_evaluation)
    monkeypatch.setattr(Evaluation, "close", failing_held_out)
    outcomes = ended(*jobs)
    assert outcomes[0] is True
    assert outcomes[3] is True
    assert str(outcomes[4]) == "no divergence of this posterior"
    assert str(outcomes[5]) == "no aggregate of these codes"
    assert str(outcomes[1]) == f"cannot write {jobs[1].run.last}"
    assert str(outcomes[2]) == "no room for events"
    assert [each.run.status()["state"] for each in jobs] == [
        "finished", "failed", "failed", "finished", "failed", "failed"
    ]  # fmt: skip
    monkeypatch.undo()
    alone = job("alone", "seed=3", "split.held_out=0.1", "batch_size=100")
    train_run(alone)
    assert jobs[3].run.metrics()["val/elbo"] == pytest.approx(alone.run.metrics()["val/elbo"], rel=1e-3)


def test_a_packed_run_whose_weights_overflow_is_left_behind(job, monkeypatch):
    jobs = [job(f"seed={seed}", f"seed={seed}") for seed in range(3)]
    begin = VAEModule.keep_terms

    def poisoned(module, names, row):
        begin(module, names, row)
        if module.seed == 1:
            with torch.no_grad():
                next(module.parameters()).fill_(torch.inf)

    monkeypatch.setattr(VAEModule, "keep_terms", poisoned)
    good, lost, other = ended(*jobs)
    assert good is other is True
    assert isinstance(lost, Stopped)
    assert lost.exit_status == 4


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_no_memory_names_the_settings_to_lower(job, monkeypatch, error):
    def compute_terms(module, batch, step):
        raise error

    monkeypatch.setattr(VAEModule, "compute_terms", compute_terms)
    made = job("run")
    with pytest.raises(Stopped, match=r"^out of memory at step 0: lower batch_size \(\d+\), eval_images") as stopped:
        train_run(made)
    assert stopped.value.exit_status == 1
    assert made.run.status()["error"] == str(stopped.value)


def test_a_checkpoint_that_does_not_fit_is_one_line(job):
    made = job("run")
    train_run(made)
    content = torch.load(made.run.last, weights_only=True)
    weight = next(name for name, value in content["state_dict"].items() if value.dim() == 2)
    state = content["optimizer_states"][0]
    moments = {0: {**state["state"][0], "exp_avg": torch.zeros(7)}}
    nan = torch.full_like(content["state_dict"][weight], torch.nan)
    wrong = [
        ({}, "global_step is missing"),
        (None, "the content must be a mapping"),
        (content | {"global_step": "x"}, "global_step must be a whole number >= 0, got 'x'"),
        (content | {"global_step": -5}, "global_step must be a whole number >= 0, got -5"),
        (content | {"global_step": 10**6}, "it is of step 1,000,000, but the run has 4 steps"),
        (content | {"state_dict": content["state_dict"] | {weight: nan}}, "must be a tensor without NaN"),
        (content | {"state_dict": content["state_dict"] | {weight: torch.zeros(7)}}, "size mismatch"),
        (content | {"optimizer_states": []}, "not enough values"),
        (content | {"optimizer_states": [{**state, "state": moments}]}, r"exp_avg of parameter 0 has the shape \(7,\)"),
    ]
    for name in ("digests.json", "metrics.json"):  # as an earlier version left the folder before its end
        (made.run.path / name).unlink()
    for damaged, said in wrong:
        torch.save(damaged, made.run.last)
        with pytest.raises(ConfigError, match=rf"last\.ckpt [^\n]*{said}[^\n]*force=true$"):
            train_run(made)


def test_matplotlib_is_told_to_draw_files(monkeypatch):
    from disvae.system.command import prepare_process

    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    prepare_process()
    assert os.environ["MPLBACKEND"] == "agg"


DEAD = ("beta=1000", "optimizer.lr=0.1", "steps=60", "eval_every=10")


def test_a_collapsed_run_says_so_once_and_ends_where_it_is_asked_to(job, monkeypatch, caplog):
    monkeypatch.setattr(CollapseGuard, "LEAST", 3)
    warm_up = ("schedule@schedule.beta=linear", "schedule.beta.until=0.5")
    warned, stopped = job("warned", *DEAD, *warm_up), job("stopped", *DEAD, "on_collapse=stop")
    assert ended(warned, stopped) == [True, True]
    first, second = [record.getMessage() for record in caplog.records if "collapse" in record.getMessage()]
    assert first == (  # the warm-up ends at step 30, and half of the steps that are left are 15
        "Posterior collapse: no latent is active at step 50; most likely at fault are beta=1000 (try beta=250) and "
        "schedule.beta.until=0.5. on_collapse=stop would end the run here"
    )
    assert second.startswith("Posterior collapse ends this run: no latent is active at step 30")
    assert warned.run.status()["step"] == 60
    assert "error" not in warned.run.status()
    assert stopped.run.finished()
    assert stopped.run.status()["step"] == torch.load(stopped.run.last, weights_only=True)["global_step"] == 30
    assert stopped.run.status()["error"].startswith("collapsed: no latent is active at step 30; most likely at fault")
    assert stopped.run.metrics()["val/active_units"] == 0
    assert packable(warned.config)
    assert not packable(stopped.config)


def test_a_run_with_active_latents_is_left_alone(job, monkeypatch, caplog):
    monkeypatch.setattr(CollapseGuard, "LEAST", 1)
    made = job("run", "beta=0", "on_collapse=stop", "steps=6", "eval_every=1")
    train_run(made)
    assert made.run.metrics()["val/active_units"] > 0
    assert made.run.status()["step"] == 6
    assert "collapse" not in caplog.text


@pytest.mark.parametrize(
    ("overrides", "steps", "first"),
    [
        ((), 10_000, 5000),
        ((), 4000, 2000),
        ((), 400, 500),  # never: it is too short
        (("schedule@schedule.beta=linear", "schedule.beta.until=0.5"), 300_000, 155_000),
        (("schedule@schedule.beta=cyclical",), 10_000, 9375),  # its last cycle is full from 8,750 on
        (("objective=capacity", "schedule.capacity.until=0.4"), 300_000, 125_000),
    ],
)
def test_the_guard_waits_for_the_last_weight_and_then_for_steps_enough(composed, overrides, steps, first):
    config = resolved(composed(*overrides, f"steps={steps}"))
    module = SimpleNamespace(objective=make(config["objective"], "objective"))
    assert CollapseGuard(Member(Run(Path()), config, module=module)).first(steps) == first
