"""What a run changes from the defaults: its name, and experiments that change nothing."""

import pytest
from hydra import compose, initialize_config_dir

from disvae.config import ConfigError, conf_dir
from disvae.training.job import Job


@pytest.fixture
def job(tmp_path):
    """A function that makes the job of a command line, whose options may also be files in `tmp_path`."""

    def make(*typed: str, varied: tuple[str, ...] = ()) -> Job:
        overrides = ["dataset=clusters", f"out={tmp_path}", f"hydra.searchpath=[file://{tmp_path}]", *typed]
        with initialize_config_dir(str(conf_dir()), version_base="1.3"):
            cfg = compose("config", overrides, return_hydra_config=True)
            return Job.of(cfg, overrides, dict(cfg.hydra.runtime.choices), varied)

    return make


@pytest.fixture
def mine(tmp_path):
    """A function that writes the user's file experiment/mine.yaml."""
    (tmp_path / "experiment").mkdir()
    return lambda text: (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")


def name(job: Job) -> str:
    return job.run.path.name.rpartition("-")[0]


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ([], "defaults"),
        (["steps=20", "beta=6.0", "seed=3", "objective=beta_tc"], "objective=beta_tc,beta=6,seed=3,steps=20"),
        (["beta=1", "optimizer=amsgrad", "trainer.accelerator=cpu", "final=[]"], "defaults"),  # usual for clusters
        (["schedule.beta.value=6"], "beta=6"),
        (["experiment=mathieu_clusters", "panel={beta:0,alpha:3}"], "objective=decomposition,beta=0,alpha=3,prior=mix"),
        (["schedule@schedule.beta=linear", "schedule.beta.until=.5"], "schedule.beta=linear,schedule.beta.until=0.5"),
        (["callbacks=[early_stopping]", "split.validation=.25"], "callbacks=early_stopping,split.validation=0.25"),
        (["optimizer.lr=1e-5", "model.encoder_hidden=[8,9]"], "model.encoder_hidden=8,9,optimizer.lr=1e-05"),
    ],
)
def test_a_folder_is_named_by_what_differs_from_the_defaults_of_the_dataset(job, typed, said):
    assert name(job(*typed)).startswith(said)
    assert (said != "defaults") or name(job(*typed)) == said


def test_a_name_ends_with_how_it_is_trained_and_leaves_out_what_follows(job):
    typed = ("schedule@schedule.beta=linear", "eval_every=40", "steps=80", "z_dim=3", "dataset.points=50")
    assert name(job(*typed)) == "schedule.beta=linear,z_dim=3,steps=80,dataset.points=50,eval_every=40"


def test_a_run_of_a_sweep_is_named_first_by_what_varies_defaults_included(job):
    varied = ("beta", "optimizer.lr", "objective")
    made = job("beta=1", "optimizer.lr=0.01", "steps=20", varied=varied)
    assert name(made) == "beta=1,optimizer.lr=0.01,objective=beta_vae,steps=20"
    alone = job("beta=1", "optimizer.lr=0.01", "steps=20")
    assert name(alone) == "steps=20,optimizer.lr=0.01"
    assert alone.run.path.name[-8:] == made.run.path.name[-8:]
    made.run.path.mkdir(parents=True)
    assert job("beta=1", "optimizer.lr=0.01", "steps=20").run == made.run  # found by its hash


def test_settings_of_an_experiment_name_the_run_as_typed_ones_do(job, mine):
    mine("# @package _global_\ndefaults:\n  - override /objective: beta_tc\nbeta: 6\n")
    typed, chosen = job("objective=beta_tc", "beta=6", "steps=20"), job("experiment=mine", "steps=20")
    assert chosen.run == typed.run
    assert name(chosen) == "objective=beta_tc,beta=6,steps=20"


def test_a_typed_value_of_a_schedule_is_the_weight(job):
    assert job("schedule.beta.value=6").run == job("beta=6").run
    assert job("objective=decomposition", "schedule.alpha.value=3").run == job("objective=decomposition", "alpha=3").run
    with pytest.raises(ConfigError, match=r"beta=1 has no effect: schedule\.beta\.value replaces it"):
        job("schedule.beta.value=6", "beta=1")


def test_a_run_that_an_earlier_version_stored_under_either_spelling_is_found(job, monkeypatch):
    typed = ["objective=decomposition", "schedule.beta.value=6", "alpha=2", "steps=20"]
    new = job(*typed).run.path
    former = new.with_name("steps=20-56789ffe")  # the hash of these overrides before beta was part of it
    former.mkdir(parents=True)
    assert job(*typed).run.path == job("objective=decomposition", "beta=6", "alpha=2", "steps=20").run.path == former
    new.mkdir()
    assert job(*typed).run.path == new


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("beta: 2\n", "has no effect: the first line of its file must be `# @package _global_`"),
        ("\ufeff# @package _global_\nbeta: 2\n", "with no byte order mark before it"),
        ("# @package _global_\n", "experiment=mine changes nothing: its file lacks a line with a setting"),
        ("# @package _global_\nlog_every: 50\n", "changes nothing"),
        (
            "# @package _global_\nalpha: 5\n",
            "sets alpha=5, which has no effect: objective=beta_vae does not read",
        ),
    ],
)
def test_an_experiment_without_effect_names_the_line_that_its_file_lacks(job, mine, text, said):
    mine(text)
    for typed in ("experiment=mine", "experiment=[mine]"):
        with pytest.raises(ConfigError, match="experiment=mine") as error:
            job(typed)
        assert said in str(error.value)


def test_each_of_several_experiments_must_change_something(job, mine):
    mine("beta: 2\n")
    with pytest.raises(ConfigError, match="experiment=mine has no effect: the first line"):
        job("experiment=[mathieu_clusters,mine]")


def test_settings_below_the_name_of_a_group_of_experiments_are_refused(job):
    with pytest.raises(ConfigError, match="experiment has no settings: type experiment=NAME"):
        job("+experiment.beta=2")


@pytest.mark.parametrize("text", ["hydra: {sweeper: {params: {seed: '1,2'}}}", "final: []", "steps: 500"])
def test_an_experiment_may_be_a_sweep_or_say_what_is_computed(job, mine, text):
    mine(f"# @package _global_\n{text}\n")
    assert name(job("experiment=mine")) == "defaults"
