"""Which jobs a command line makes, how a sweep ends when one of them failed, and what a search chooses."""

from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf, open_dict

from disvae.config import ConfigError
from disvae.training.job import JobFailed


class Recorder:
    """A launcher that does nothing; jobs with `bad` among their overrides fail."""

    def __init__(self, bad: str = "") -> None:
        self.batches: list[list[list[str]]] = []
        self.bad = bad

    def launch(self, jobs, initial_job_idx):
        assert initial_job_idx == sum(map(len, self.batches))
        self.batches.append(jobs)
        return [
            JobReturn(overrides=job, status=JobStatus.FAILED, _return_value=JobFailed("because"))
            if self.bad in job
            else JobReturn(overrides=job, status=JobStatus.COMPLETED, _return_value=1.0)
            for job in jobs
        ]


@pytest.fixture
def sweeper(composed):
    """A sweeper with a launcher that records; `ended` counts the calls at the sweep's end."""

    def make(*overrides: str, bad: str = "", params: dict[str, str] | None = None, batch: int | None = None):
        config = composed(*overrides)
        # Hydra runs plugins' files anew when it first looks for them: what was imported before is another class
        from hydra_plugins.disvae_sweep import DisvaeSweeper

        made = DisvaeSweeper(max_batch_size=batch, params=params)
        made.config = config
        made.ended = []
        callbacks = SimpleNamespace(on_multirun_end=lambda **given: made.ended.append(given))
        made.hydra_context = SimpleNamespace(config_loader=None, callbacks=callbacks)
        made.launcher = Recorder(bad)
        return made

    return make


def test_params_of_an_experiment_and_the_command_line_make_one_grid_and_the_command_line_wins(sweeper):
    made = sweeper(params={"seed": "range(0,2)", "beta": "1,2,3"})
    made.sweep(["beta=logspace(0,1,2)", "+note=x"])
    [jobs] = made.launcher.batches
    assert jobs == [[f"seed={seed}", f"beta={beta}", "+note=x"] for seed in (0, 1) for beta in (1, 10)]


def test_experiments_with_a_sweep_of_their_own_are_told_to_be_typed_alone(sweeper, capsys):
    made = sweeper()
    hydra = {
        "experiment=mine": {"sweeper": {"params": None}, "callbacks": {}},
        "experiment=theirs": {"sweeper": {"params": {"seed": "1,2"}}, "callbacks": {}},
        "experiment=drawn": {"sweeper": {"params": None}, "callbacks": {"x": {"_target_": "x"}}},
    }
    with open_dict(made.config):
        made.config.hydra = {"callbacks": {}}
    made.hydra_context.config_loader = SimpleNamespace(
        load_sweep_config=lambda config, jobs: OmegaConf.create({"hydra": hydra.get(jobs[0], hydra["experiment=mine"])})
    )
    for other, brought in (("theirs", "hydra.sweeper.params"), ("drawn", "hydra.callbacks")):
        with pytest.raises(SystemExit) as ended:
            made.sweep([f"experiment=mine,{other}"])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert f"experiment={other} brings {brought}" in said
        assert f"type a command for each, python -m disvae.train -m experiment={other}" in said
    made.sweep(["+experiment=mine,null"])
    assert made.launcher.batches == [[["experiment=mine"], ["~experiment"]]]


def test_zipped_axes_go_together_within_the_grid(sweeper):
    made = sweeper("zip=[beta,alpha]")
    made.sweep(["beta=1,4", "alpha=linspace(0,10,2)", "seed=7,8"])
    [jobs] = made.launcher.batches
    assert jobs == [["beta=1", "alpha=0", "seed=7"], ["beta=1", "alpha=0", "seed=8"],
                    ["beta=4", "alpha=10", "seed=7"], ["beta=4", "alpha=10", "seed=8"]]  # fmt: skip


def test_batches_are_launched_one_after_another(sweeper):
    made = sweeper(batch=2)
    made.sweep(["seed=1,2,3"])
    assert made.launcher.batches == [[["seed=1"], ["seed=2"]], [["seed=3"]]]


def test_a_failed_job_makes_the_exit_status_one_after_the_sweeps_end_was_told(sweeper, capsys):
    made = sweeper(bad="seed=2")
    with pytest.raises(SystemExit) as ended:
        made.sweep(["seed=1,2,3"])
    assert ended.value.code == 1
    assert len(made.launcher.batches[0]) == 3
    assert len(made.ended) == 1
    assert "seed=2: because" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("overrides", "said"), [("zip=beta", "zip must be a list of axes"), ("zip=[beta,seed]", "seed has 0 values")]
)
def test_a_sweep_that_cannot_be_ends_with_status_two_and_one_line(sweeper, capsys, overrides, said):
    made = sweeper(overrides)
    with pytest.raises(SystemExit) as ended:
        made.sweep(["beta=1,2"])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert not made.launcher.batches


class Scored:
    """A launcher whose jobs score best at beta=3, worse with each seed; it stops before batch `until`, as if killed."""

    def __init__(self, until: int = 100) -> None:
        self.jobs: list[list[str]] = []
        self.until = until

    def launch(self, jobs, initial_job_idx):
        assert initial_job_idx == len(self.jobs)
        self.until -= 1
        if self.until < 0:
            raise KeyboardInterrupt
        self.jobs += jobs
        return [JobReturn(overrides=job, status=JobStatus.COMPLETED, _return_value=self.score(job)) for job in jobs]

    def score(self, job):
        values = dict(override.split("=") for override in job)
        return -((float(values["beta"]) - 3) ** 2) - float(values.get("seed", 0)) - (values["objective"] == "vae")


@pytest.fixture
def searching(composed, tmp_path):
    """A search in a folder, its launcher given; its arguments are those of a command line."""
    pytest.importorskip("optuna")

    def run(launcher, *arguments: str, trials=6, direction=None, where="one", **config):
        from hydra_plugins.disvae_sweep import OptunaSweeper

        made = OptunaSweeper(trials=trials, seed=0, direction=direction, max_batch_size=2)
        made.config = composed("optimize=metric/mig/histogram", f"out={tmp_path / where}")
        with open_dict(made.config):
            made.config.update(config)
            made.config.hydra = {"overrides": {"task": list(arguments)}}
        made.hydra_context = SimpleNamespace(config_loader=None, callbacks=SimpleNamespace())
        made.launcher = launcher
        return made.sweep(list(arguments))

    return run


SPACE = ("objective=vae,beta_tc", "beta=interval(1,5)", "steps=9", "seed=0,1")


def test_a_search_ends_with_the_best_mean_over_seeds_and_its_commands(searching, capsys):
    whole = Scored()
    searching(whole, *SPACE, trials=12)
    assert len(whole.jobs) == 24
    assert all(job[0] == "steps=9" for job in whole.jobs)
    pairs = list(zip(whole.jobs[::2], whole.jobs[1::2], strict=True))
    assert all(one[:3] == other[:3] and (one[3], other[3]) == ("seed=0", "seed=1") for one, other in pairs)
    best = max(pairs, key=lambda pair: sum(map(whole.score, pair)))
    value, *commands = capsys.readouterr().out.splitlines()
    assert value.startswith("Best of 12 trials: metric/mig/histogram = -0.5")
    assert value.endswith(", mean of 2 seeds")
    assert commands == [f"python -m disvae.train {' '.join(job)}" for job in best]


def test_a_stopped_search_goes_on_as_if_it_had_not_been_stopped_and_a_larger_one_adds_trials(searching):
    whole, stopped, rest, more = Scored(), Scored(until=2), Scored(), Scored()
    searching(whole, *SPACE)
    with pytest.raises(SystemExit, match="130"):
        searching(stopped, *SPACE, where="other")
    searching(rest, *SPACE, where="other")
    assert len(stopped.jobs) == 8
    assert rest.jobs == whole.jobs  # the launcher skips what is finished, and goes on with what was stopped
    searching(more, *SPACE, where="other", trials=7)
    assert more.jobs[:12] == whole.jobs
    assert len(more.jobs) == 14


def test_a_failed_trial_of_a_search_is_tried_again_by_the_same_command(searching):
    failing = Scored()
    failing.score = lambda job: float("nan") if "objective=vae" in job else 1.0
    returned = searching(failing, *SPACE)
    mended = Scored()
    searching(mended, *SPACE)
    failed = [job for job in failing.jobs if "objective=vae" in job]
    assert 0 < len(failed) < len(returned) == 12
    assert mended.jobs == failing.jobs
    again = Scored()
    searching(again, *SPACE)
    assert again.jobs == failing.jobs


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["beta=4", "seed=0,1"], {}, "a search needs a setting with several values"),
        (["beta=interval(4,1)"], {}, "beta=interval(4.0,1.0) must go up"),
        (["beta=tag(log,interval(0,1))"], {}, "from above 0 with tag(log, ...)"),
        (["beta=1,2"], {"trials": 0}, "hydra.sweeper.trials must be 1 or more"),
        (["beta=1,2"], {"direction": "up"}, "hydra.sweeper.direction must be maximize or minimize"),
        (["beta=1,2"], {"optimize": "val/kl"}, "for optimize=val/kl, got None"),
        (["beta=1,2"], {"zip": ["beta", "seed"]}, "zip has no effect in a search"),
    ],
)
def test_a_search_that_cannot_be_ends_with_status_two_and_one_line(searching, capsys, arguments, given, said):
    with pytest.raises(SystemExit, match="2"):
        searching(Scored(), *arguments, **given)
    assert said in capsys.readouterr().err


def test_whole_numbers_of_an_interval_are_searched_on_request(searching):
    whole = Scored()
    searching(whole, "objective=vae", "beta=int(interval(1,5))")
    assert {job[1] for job in whole.jobs} <= {f"beta={beta}" for beta in range(1, 6)}


def test_an_interval_without_a_search_says_how_to_search(sweeper, capsys):
    with pytest.raises(SystemExit, match="2"):
        sweeper().sweep(["beta=interval(1,4)"])
    assert "add hparams_search=optuna, or type beta=linspace(1,4,4)" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "made"), [("hydra_plugins.hydra_optuna_sweeper.X", True), ("own", False)])
def test_a_sweeper_of_others_finds_the_folder_that_it_writes_results_to(composed, tmp_path, monkeypatch, target, made):
    from hydra_plugins.disvae_sweep import DisvaeLauncher

    launcher = DisvaeLauncher()
    launcher.config = OmegaConf.create(
        {"hydra": {"sweep": {"dir": str(tmp_path / "multirun")}, "sweeper": {"_target_": target}}}
    )
    if target == "own":
        launcher.config.hydra.sweeper._target_ = "hydra_plugins.disvae_sweep.OptunaSweeper"
    launcher.hydra_context = SimpleNamespace()
    monkeypatch.setattr("disvae.sweep.launch.launch", lambda *given: [])
    launcher.launch([["beta=1"]], 0)
    assert (tmp_path / "multirun").is_dir() is made


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["optimize=elbo"], "optimize must be a tag"),
        (["optimize=metric/dci/disentanglement", "final=[mig]"], "needs the metric dci after the last step"),
        (["launcher.processes=0"], "launcher.processes"),
        (["launcher.retries=-1"], "launcher.retries"),
    ],
)
def test_settings_of_a_sweep_are_checked_at_the_door(composed, arguments, said):
    from disvae.config import check_values

    check_values(composed("optimize=metric/mig/histogram", "launcher.processes=3"))
    with pytest.raises(ConfigError, match=said):
        check_values(composed(*arguments))
