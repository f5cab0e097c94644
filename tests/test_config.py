import math
import re

import pytest
from hydra.errors import MissingConfigException

from disvae import config
from disvae.config import ConfigError
from disvae.runs.identity import identity
from disvae.system.help import help_text


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("beta=-1", "beta must be a finite number >= 0, got -1"),
        ("beta=abc", "beta must be a finite number >= 0, got 'abc'"),
        ("beta=nan", "got nan"),
        ("alpha=inf", "alpha must be a finite number"),
        ("beta=true", "got True"),
        ("steps=0", "steps must be a whole number from 1 to 1,000,000,000, got 0"),
        ("z_dim=2.5", "z_dim must be a whole number"),
        ("seed=99999999999999999999", "seed must be a whole number from 0 to 4,294,967,295"),
        ("seed=null", "got null"),
        ("split.held_out=0.9", "split.held_out must be a finite number from 0 to 0.5, got 0.9"),
        ("preview=everything", "preview must be schedule or null"),
        ("force=1", "force must be true or false"),
        ("+trainer.profiler=x", "trainer.profiler must be one of null, simple, advanced, got 'x'"),
        ("+trainer.profiler={_target_:os.system}", "trainer.profiler must be one of null, simple, advanced, got {"),
        ("+trainer.deterministic=[1]", "trainer.deterministic must be one of null, true, false, warn, got [1]"),
        *(
            (
                f"trainer.devices={devices}",
                f"trainer.devices must be 1 or one GPU's number in a list, got {said}: a sweep uses all devices, "
                "a run each",
            )
            for devices, said in (("2", "2"), ("[0,1]", "[0, 1]"), ("auto", "'auto'"), ("-1", "-1"))
        ),
    ],
)
def test_a_bad_setting_is_named_with_its_value(composed, override, said):
    with pytest.raises(ConfigError) as error:
        config.check_values(composed(override))
    assert said in str(error.value)


@pytest.mark.parametrize("package", ["wandb", "mlflow"])
def test_a_logger_whose_package_is_missing_says_what_to_install(composed, monkeypatch, package):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=f"logger={package} needs the package {package}: type pip install {package}"):
        config.check_values(composed(f"logger=[{package}]"))


def test_a_setting_that_nothing_reads_is_refused_with_what_reads_it(composed):
    cfg = composed("objective=beta_tc", "alpha=5")
    with pytest.raises(ConfigError, match=r"alpha=5 has no effect.*objective=decomposition"):
        config.check_settings(cfg, ["objective=beta_tc", "alpha=5"], "beta_tc")


def test_a_setting_of_an_unread_group_is_refused(composed):
    cfg = composed("divergence=mmd")
    with pytest.raises(ConfigError, match=r"divergence=mmd has no effect.*objective=beta_vae"):
        config.check_settings(cfg, ["divergence=mmd"], "beta_vae")
    cfg = composed("schedule@schedule.capacity=cosine")
    with pytest.raises(ConfigError, match=r"schedule\.capacity"):
        config.check_settings(cfg, ["schedule@schedule.capacity=cosine"], "beta_vae")


def test_facts_about_an_option_are_neither_stored_nor_to_be_set(composed):
    chosen = ("model=mlp", "objective=factor_vae", "metric=[jemmig,udr]")
    assert composed(*chosen).metric.jemmig.better == {"jemmig": "lower"}
    tree = config.resolved(composed(*chosen))
    assert "packs_on_cpu" not in tree["model"] | tree["objective"]
    assert tree["metric"]["jemmig"] == {"_target_": "disvae.metric.jemmig.JEMMIG", "bins": 20}
    assert config.nodes("metric", composed(*chosen).metric, []).keys() == {"jemmig", "udr"}
    for override in ("metric.jemmig.better.jemmig=higher", "model.packs_on_cpu=false", "+objective.packs_on_cpu=true"):
        with pytest.raises(ConfigError, match="describes an option and cannot be set"):
            config.check_lists([override])


def test_the_neutral_value_goes_with_every_objective(composed):
    config.check_settings(composed("objective=beta_tc", "alpha=0"), ["alpha=0"], "beta_tc")
    config.check_settings(composed("objective=vae", "beta=1"), ["beta=1"], "vae")


def test_a_read_setting_passes(composed):
    overrides = ["objective=decomposition", "beta=2", "alpha=3", "divergence=mmd", "schedule@schedule.alpha=linear"]
    cfg = composed(*overrides)
    config.check_settings(cfg, overrides, "decomposition")
    assert {"beta", "alpha", "divergence", "schedule.beta", "schedule.alpha"} <= config.read_keys(cfg)


def test_an_option_outside_its_group_is_refused():
    with pytest.raises(ConfigError, match="objective must be one of"):
        config.check_choices({"objective": "../../elsewhere/x"})


@pytest.mark.parametrize(
    "argument",
    ["dataset.path=../x.h5", "out=/elsewhere", "--config-dir=/my/conf", "objective=beta_tc",
     "experiment=mathieu_clusters", "+trainer.x=a/b", "-m",
     "dataset=sprites,clusters", "metric=[mig,sap]", "hydra/launcher=basic", "prior=glob(*)"],
)  # fmt: skip
def test_paths_that_are_no_options_pass(argument):
    config.check_names([argument])


@pytest.mark.parametrize("option", ["../x", "/x", "a/b", "..", "x\\y", "${oc.env:X}", "beta_vae,../x", "'../x'"])
@pytest.mark.parametrize("key", ["objective", "+experiment", "schedule@schedule.beta", "hydra/launcher", " ++prior"])
def test_an_option_that_is_a_path_is_refused(key, option):
    with pytest.raises(ConfigError, match=r"^(objective|experiment|schedule|hydra/launcher|prior) must be one of "):
        config.check_names([f"{key}={option}"])


@pytest.mark.parametrize("override", ["objective=null", "+prior=", "experiment=", "model=mlp,null", "prior=[a,b]"])
def test_a_group_that_needs_an_option_names_the_ones_there_are(override):
    group, _, value = override.strip("+").partition("=")
    with pytest.raises(ConfigError, match=f"^{group} must be one of .*, got {re.escape(repr(value))}$"):
        config.check_names([override])


def test_null_and_a_plus_are_understood_where_an_option_is_chosen(composed):
    spelled = ["+experiment=a", "experiment=null", "~scheduler=null", "+schedule@schedule.beta=linear", "+mine=null"]
    said = ["experiment=a", "~experiment", "~scheduler", "schedule@schedule.beta=linear", "+mine=null"]
    assert [config.spelled(override) for override in spelled] == said
    assert config.resolved(composed("~scheduler", "~experiment")) == {
        key: value for key, value in config.resolved(composed()).items() if key != "scheduler"
    }


@pytest.mark.parametrize("group", ["experiment", "scheduler"])
def test_an_option_that_does_not_exist_is_an_error(composed, group):
    with pytest.raises(MissingConfigException, match=f"Could not find '{group}/typo'"):
        composed(f"{group}=typo")


def test_a_list_needs_no_brackets_unless_it_is_an_axis_of_a_sweep():
    typed = [
        "metric=mig,dci",
        "final=mig",
        "tags=a,b",
        "metric=[mig]",
        "final=all",
        "beta=1,2",
        "metric.mig.x=1,2",
    ]
    said = ["metric=[mig,dci]", "final=[mig]", "tags=[a,b]", *typed[3:]]
    assert list(map(config.bracketed, typed)) == said
    assert [config.bracketed(argument, sweep=True) for argument in typed] == [typed[0], *said[1:]]


def test_identity_ignores_spelling_and_place_but_not_numbers(composed):
    def mark(*overrides):
        return identity(config.resolved(composed(*overrides)))

    assert (
        mark("beta=6") == mark("beta=6.0") == mark("beta=6", "out=/elsewhere", "trainer.accelerator=cpu", "force=true")
    )
    assert mark("tags=[paper]") == mark("trainer=cpu") == mark("split.train=null") == mark()
    assert mark("split.train=32") != mark()
    assert {"tags", "train"}.isdisjoint({*config.resolved(composed()), *config.resolved(composed())["split"]})
    assert config.resolved(composed("tags=[paper]"))["tags"] == ["paper"]
    assert mark("beta=6") != mark("beta=5")
    assert mark("seed=0") != mark("seed=1")
    assert mark("trainer.precision=16-mixed") != mark()


def test_identity_leaves_out_what_nothing_reads(composed):
    with_alpha = config.resolved(composed("objective=beta_tc", "alpha=0"))
    assert "alpha" not in with_alpha
    assert "divergence" not in with_alpha


def test_experiment_beats_defaults_and_command_line_beats_experiment(composed):
    assert composed("experiment=mathieu_clusters").steps == 500
    assert composed("experiment=mathieu_clusters", "steps=7").steps == 7


def test_help_with_an_option_shows_its_settings_and_where_they_are_typed():
    text = help_text(
        "disvae-train", ["--help", "objective=factor_vae", "metric=[mig]", "schedule@schedule.beta=linear"]
    )
    lines = {line.split("=")[0].strip(): line for line in text.splitlines() if line.startswith("  ")}
    assert lines["objective.gamma"].split()[:2] == ["objective.gamma=35", "weight"]
    assert {"metric.mig.bins", "schedule.beta.until"} <= lines.keys()
    assert (
        not {"objective.z_dim", "objective.packs_on_cpu", "metric.mig.headline", "schedule.beta.steps"} & lines.keys()
    )
    assert help_text("disvae-train", ["--help", "objective=betatc"]) == help_text("disvae-train")
    every = [f"{group.name}={name}" for group in config.conf_dir().iterdir() for name in config.options(group.name)]
    assert help_text("disvae-train", every).count("\n\n") == len(every)


def test_help_names_every_group_and_option_with_a_line():
    text = help_text("disvae-train")
    lines = text.splitlines()
    for group in (path for path in config.conf_dir().iterdir() if path.is_dir()):
        for name in config.options(group.name):
            described = [line for line in lines if line.strip().startswith(f"{name} ")]
            assert described, name
            assert all(len(line.split()) > 2 for line in described), f"{group.name}/{name} has no first comment line"
    for setting in ("beta=4", "alpha=0", "steps=10000", "seed=0", "split.validation=0.05", "out=outputs"):
        assert setting in text


@pytest.mark.parametrize("key", config.read_conf("score"))
def test_a_setting_of_the_scores_is_checked_whatever_its_kind(key):
    wrong = [{"a": 1}, -1, math.inf, 10**30, "abc", [[1]], [math.nan]]
    for value in wrong:
        with pytest.raises(ConfigError, match=rf"^score\.{key}.* must be [^\n]*, got "):
            config.check_score({"score": config.read_conf("score") | {key: value}})
