"""Runs that start at the end of a shorter run, or at the weights of another run."""

import shutil
from pathlib import Path

import pytest
import torch

from disvae.config import ConfigError, resolved, spelled, trained_weights
from disvae.runs.checkpoint import load, save
from disvae.runs.curves import curves
from disvae.runs.folder import Run
from disvae.training.job import Job
from disvae.training.loop import train_run
from disvae.training.parts import prepare
from disvae.training.run_trainer import RunTrainer
from disvae.training.starts import load_weights, shorter

TYPED = (
    "dataset=clusters", "model.encoder_hidden=[8]", "eval_every=10", "eval_images=100",
    "eval_samples=50", "log_every=5", "batch_size=50", "final=[]", "metric=[sparsity]",
)  # fmt: skip


def job_of(composed, out: Path, *overrides: str) -> Job:
    other = any(override.startswith("objective=") for override in overrides)
    small = () if other else ("objective=factor_vae", "objective.width=8")
    cfg = composed(*TYPED, f"out={out}", *small, *map(spelled, overrides))
    return Job.of(cfg, overrides, {"objective": "factor_vae", "dataset": "clusters"}).claimed()


@pytest.fixture(scope="module")
def runs(composed, tmp_path_factory) -> dict[str, Run]:
    """A run of 20 steps, a run of 40 that continues it, and an uninterrupted run of 40."""
    made = {}
    for name, place, steps in (("short", "b", 20), ("grown", "b", 40), ("whole", "a", 40)):
        job = job_of(composed, tmp_path_factory.getbasetemp() / "starts" / place, f"steps={steps}")
        train_run(job)
        made[name] = job.run
    return made


def same(first, second) -> bool:
    """Whether nested values are equal to the bit."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(same, first, second))
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second


def test_a_longer_run_continues_a_finished_one_and_equals_an_uninterrupted_one_to_the_bit(runs):
    for name in ("last", "best"):
        grown, whole = (load(getattr(runs[run], name)) for run in ("grown", "whole"))
        for content in (grown, whole):
            del content["loops"]  # Lightning counts the validations of a session
            assert content["hyper_parameters"]["config"].pop("out")
            assert content["hyper_parameters"]["config"]["steps"] == 40
        assert same(grown, whole)
    assert runs["grown"].metrics() == runs["whole"].metrics()
    assert runs["grown"].provenance()["sessions"][0]["continues"] == {"run": str(runs["short"].path), "step": 20}


def test_the_shorter_run_stays_and_its_curves_go_on(runs):
    assert runs["short"].finished()
    assert load(runs["short"].last)["global_step"] == 20
    grown, whole = (curves(runs[name].path) for name in ("grown", "whole"))
    assert set(grown) == set(whole)
    for tag in set(whole) - {tag for tag in whole if tag.startswith("metric")}:
        assert grown[tag].steps.tolist() == whole[tag].steps.tolist(), tag
        assert grown[tag].values.tolist() == whole[tag].values.tolist(), tag


EMPTY = {"global_step": 0, "state_dict": {}, "optimizer_states": [], "terms": {}, "best_elbo": -2.0}


def finished(composed, out: Path, steps: int, *overrides: str, best: float = -2.0) -> None:
    run = job_of(composed, out, *overrides, f"steps={steps}").run
    run.mark("finished", steps)
    save(EMPTY | {"global_step": steps, "best_elbo": -2.0}, run.last)
    save(EMPTY | {"global_step": steps, "best_elbo": best}, run.best)


@pytest.mark.parametrize(
    ("overrides", "best", "reason"),
    [
        (["objective=beta_vae", "schedule@schedule.beta=linear"], -2.0, "a schedule depends on steps"),
        (["scheduler=step"], -2.0, "the scheduler depends on steps"),
        (["eval_every=7"], -1.0, "its last validation was not at a multiple of eval_every=7"),
        (["objective=beta_vae", "schedule@schedule.beta=linear", "schedule.beta.steps=10"], -2.0, ""),
        (["seed=1"], -2.0, ""),
    ],
)
def test_a_run_whose_settings_depend_on_its_end_is_not_continued(composed, tmp_path, overrides, best, reason):
    finished(composed, tmp_path, 20, *overrides, best=best)
    finished(composed, tmp_path, 10, "seed=2")
    (tmp_path / "clusters" / "damaged").mkdir()
    (tmp_path / "clusters" / "damaged" / "status.json").write_text("{")
    job = job_of(composed, tmp_path, *overrides, "steps=40")
    found, said = shorter(job.run, job.config)
    assert said == reason
    assert (found is None) == bool(reason)


def test_a_warm_start_takes_the_weights_and_says_where_they_come_from(composed, runs, tmp_path):
    source = runs["short"]
    job = job_of(composed, tmp_path, f"init_from={source.path}", "seed=1", "objective=beta_vae")
    trainer = RunTrainer(job, prepare(job))
    trainer.build()
    assert trainer.at_step == 0
    weights = trainer.module.vae.state_dict()
    assert same({f"vae.{key}": value for key, value in weights.items()}, {
        key: value for key, value in load(source.last)["state_dict"].items() if key.startswith("vae.")
    })  # fmt: skip
    expected = trained_weights(str(source.path))
    assert job.run.provenance()["sessions"][0]["init_from"] == job.run.config()["init_from"] == expected


def test_a_warm_start_is_known_by_the_weights_and_not_by_their_place(composed, runs, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(runs["short"].path, moved)
    jobs = [job_of(composed, tmp_path, f"init_from={path}") for path in (runs["short"].path, moved)]
    assert jobs[0].run == jobs[1].run
    assert "init_from=" in jobs[0].run.path.name
    assert jobs[0].run != job_of(composed, tmp_path).run == job_of(composed, tmp_path, "init_from=null").run
    assert jobs[0].run != job_of(composed, tmp_path, f"init_from={runs['whole'].path}").run
    for value, said in (
        (tmp_path / "no", "init_from=.*no is not the folder of a trained run"),
        ("[5]", "must be the f"),
    ):
        with pytest.raises(ConfigError, match=said):
            resolved(composed(spelled(f"init_from={value}")))


def test_a_prior_keeps_its_settings_and_other_networks_are_refused(small_vae, tmp_path):
    source = small_vae("prior=student_t", "prior.scale=2")
    weights = {f"vae.{key}": value + 1 for key, value in source.state_dict().items()}
    save(EMPTY | {"state_dict": weights}, tmp_path / "last.ckpt")
    former = trained_weights(str(tmp_path))
    vae = small_vae("prior=student_t", "prior.scale=3")
    load_weights(vae, former)
    assert (vae.prior.scale == 3).all()
    name, weight = next(iter(vae.model.state_dict().items()))
    assert torch.equal(weight, source.model.state_dict()[name] + 1)
    with pytest.raises(ConfigError, match=r"init_from=.* other networks: model\.\S+ is \(.*\) there and \(.*\) here"):
        load_weights(small_vae("model.encoder_hidden=[9]"), former)
    with pytest.raises(ConfigError, match="its weights have changed"):
        load_weights(vae, former | {"checkpoint": "0"})
