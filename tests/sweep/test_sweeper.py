"""Which jobs a command line makes, and how a sweep ends when one of them failed."""

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
