"""What a command line answers: whatever is typed, one line that names the setting, and no trace."""

import os
import random
import re
import time

import pytest

from disvae.config import LISTS, conf_dir, options
from disvae.system.overrides import known_settings

NUMBER = int(os.environ.get("DISVAE_RANDOM_OVERRIDES", "25"))
"""Number of random command lines; type DISVAE_RANDOM_OVERRIDES=500 for a thorough search."""

SEED = int(os.environ.get("DISVAE_RANDOM_SEED", "0"))

VALUES = [
    "", "null", "true", "0", "-1", "1", "2", "0.5", "1e30", "inf", "nan", "2147483648", "9223372036854775808", "abc",
    "β", "~", "a=b", "[", "[]", "[1]", "[[1]]", "[a,b]", "{}", "{a:1}", "${nothing}", "${steps}", "1,2",
]  # fmt: skip
OF_OTHERS = ("experiment", "hparams_search", "debug")
"""Groups whose options set other groups' settings, which the message names."""

FORMS = ("{}={}", "{}={}", "{}={}", "{}={}", "+{}={}", "++{}={}", "~{}", "{}", "{}x={}", "{}.x={}")


def random_overrides(rng: random.Random) -> list[str]:
    """Return an override of a random setting or group, often with the choice that has the setting."""
    known = known_settings()
    groups = [path.name for path in conf_dir().iterdir() if path.is_dir() and path.name not in ("hydra", "dataset")]
    if rng.random() < 0.15:
        group = rng.choice(groups)
        return [rng.choice(FORMS).format(group, rng.choice([*options(group), *VALUES]))]
    key = rng.choice([key for key, choices in known.items() if not any("dataset=" in choice for choice in choices)])
    choices = known[key]
    typed = [rng.choice(choices)] if choices and rng.random() < 0.8 else []
    return [*typed, rng.choice(FORMS).format(key, rng.choice(VALUES))]


@pytest.fixture
def answer(tiny, command_line):
    """Return a function that types overrides of a quick run, and returns the exit status and what stderr was told."""
    quick = [each for each in tiny if not each.startswith(("steps", "eval_every"))]
    return lambda *overrides: command_line(*quick, "steps=2", "batch_size=50", "metric=[]", *overrides)


@pytest.mark.parametrize("number", range(NUMBER))
def test_a_random_override_is_obeyed_or_refused_in_a_line_that_names_it(answer, tmp_path, number):
    overrides = random_overrides(random.Random(f"{SEED} {number}"))
    started = time.monotonic()
    status, said = answer(*overrides)
    told = f"{overrides}: {status} {said}"
    assert status in (0, 2, 4), told
    assert time.monotonic() - started < 60, told
    assert not re.search("Traceback|HYDRA_FULL_ERROR|Error executing", said), told
    if status == 2:
        lines = said.splitlines()
        words = re.split(r"[.@=]", overrides[-1].lstrip("+~"))
        assert len(lines) == 1, told
        assert lines[0].startswith("disvae: "), told
        if words[0] not in OF_OTHERS:
            assert words[0] in lines[0] or (words[0] in LISTS and words[1] in lines[0]), told
        assert not [path for path in tmp_path.rglob("*") if path.name == "status.json"], told


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("schedule.beta.value=-1", "schedule.beta: value must be non-negative and finite, got -1"),
        ("figure=[reconstruction] figure.traversal.most=3", "add traversal to figure=[...]"),
        ("metric=[mig] metric.mig.bins={a:1}", "metric.mig.bins must be a whole number, got {'a': 1}"),
        (
            "metric=[dci] metric.dci.trees=9223372036854775808",
            "metric.dci.trees must be at most 1,000,000, because more",
        ),
        ("score.repeats=2147483648", "score.repeats must be a whole number from 2 to 10,000, got 2147483648"),
        ("score.controls=-1", "score.controls must be a list of untrained, pca, ica, rotation, got -1"),
        ("dataset.clusters=2147483648", "dataset.clusters must be at most 1,000,000"),
        ("dataset.beta=3", "dataset.beta is not a setting; did you mean beta="),
        ("optimizer.eps=0", "optimizer: lr and eps must be positive, got 0.001 and 0"),
        ("optimizer.lr=inf", "optimizer.lr must be a finite number, got inf"),
        (
            "objective=dip_vae objective.lambda_d=9223372036854775808",
            "objective.lambda_d must be a text, a number",
        ),
        ("beta=9223372036854775808", "beta must be a number (large whole ones as 1e20), got 9223372036854775808"),
        ("log_every=${nothing}", "log_every refers to ${nothing}, which is not a setting"),
        ("trainer.accelerator=[[1]]", "trainer.accelerator must be one of auto, cpu, gpu, cuda, mps, got [[1]]"),
        ("+trainer.foo=1", "trainer: Trainer.__init__() got an unexpected keyword argument 'foo'"),
        ("out=null", "out must be a folder, out=PATH, got null"),
        ("out=~/runs", """needs quotes: type 'out="~/runs"'"""),
        ("out=it'sü", """needs quotes: type 'out="it'"'"'sü"'"""),
        ("trainer.graph=β", """needs quotes: type 'trainer.graph="β"'"""),
        ("final=β", """needs quotes: type 'final=["β"]'"""),
        ("out=ü\\", """needs quotes: type 'out="ü\\\\"'"""),
        ("experiment=higgins_2d_shapes", "add higgins to metric=[...]"),
        ("beta=1,2", "beta=1,2 has several values: add -m for a sweep of them"),
        ("-m beta=range(1,0)", "beta=range(1,0) must make 1 to 100,000 jobs, got none"),
        ("-m optimizer=glob(x*)", "optimizer=glob(x*) must make 1 to 100,000 jobs, got none"),
        ("-m seed=shuffle(range(1000000000))", "must make 1 to 100,000 jobs, got more"),
        ("-m beta=linspace(0,1,1e9)", "beta=linspace(0,1,1e9) must make 1 to 100,000 jobs, got more"),
        ("-m seed=range(1000) z_dim=range(1,1000)", "the sweep must make 1 to 100,000 jobs, got more"),
        ("objective=control_vae +objective.target={}", "objective.target is a schedule, not {}: leave it out"),
        ("final=null", "final must be all or a list of active_units"),
        ("split=null", "split is a group of settings, split.NAME=VALUE, got null"),
        ("zip={}", "zip={} is not"),
        ("batch_size=401", "batch_size must be at most the 400 training images, got 401"),
        ("betaa=6", "betaa is not a setting; did you mean beta=?"),
        ("lr=1e-3", "lr is not a setting; did you mean optimizer.lr=?"),
        ("epochs=10", "epochs is not a setting; did you mean steps=?"),
        ("-m hparams_search=optuna hydra.sweeper.n_trials=5", "did you mean hydra.sweeper.trials=?"),
        ("objective=betatc", "got 'betatc'; did you mean beta_tc?"),
        ("prior.df=5", "prior.df has no effect with these choices: type also prior=student_t"),
        ("seed = 3", "'seed' is not a setting: type seed=VALUE, without spaces around ="),
        ("seed\t=3", "is not a setting: type seed=3, without spaces around ="),
        ("beta=-1", "beta must be a finite number >= 0, got -1"),
        ("objective=nope", "objective must be one of ada_gvae, beta_tc, "),
        ("objective=../../x", "vae, wae_mmd, got '../../x'"),
        ("objective.beta_typo=1", "objective.beta_typo is not a setting; did you mean objective.beta=?"),
        ("objective=beta_tc alpha=5", "alpha=5 has no effect"),
        ("optimizer.lr=fast", "optimizer.lr must be a number, got 'fast'"),
        ("model=conv", "for model=conv, got (1, 1, 2): type model=mlp"),
        ("model._target_=os.system", "must be a class or function of disvae"),
        ("trainer.accelerator=abacus", "trainer.accelerator must be one of auto, cpu, gpu, cuda, mps, got 'abacus'"),
        ("+trainer.accumulate_grad_batches=2", "trainer.accumulate_grad_batches is set by disvae: type batch_size=N"),
        ("+trainer.max_time=00:00:00:01", "trainer.max_time is set by disvae: stop a run with Ctrl-C"),
        (
            "trainer.devices=3",
            "trainer.devices must be 1 or one GPU's number in a list, got 3: a sweep uses all devices",
        ),
        ("trainer.devices=auto", "trainer.devices must be 1 or one GPU"),
        ("+trainer.num_nodes=2", "trainer.num_nodes is set by disvae: a run trains on one device"),
        ("beta=${nothing}", "beta refers to ${nothing}, which is not a setting"),
        ("trainer.precision=16-mixed", "trainer.precision must be 32-true, tf32, bf16-mixed, got '16-mixed'"),
        ("trainer.graph=perhaps", "trainer.graph must be true or false, got 'perhaps'"),
        ("trainer.gradient_clip_val=x", "trainer.gradient_clip_val must be a finite number >= 0, got 'x'"),
        ("trainer.precision=tf32 trainer.accelerator=cpu", "trainer.precision=tf32 is for a GPU"),
        ("trainer.gradient_clip_val=0", "trainer.gradient_clip_val must be positive, or null"),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val must be a finite number >= 0, got -1"),
        (
            "+trainer.gradient_clip_algorithm=value",
            "trainer.gradient_clip_algorithm is set by disvae: gradients are clipped by their norm",
        ),
        ("objective.beta=2", "objective.beta is a schedule, not 2: type beta=2"),
        ("+betta=2", "betta is not a setting; did you mean beta?"),
        ("schedule.beta.value=3 beta=6", "schedule.beta.value replaces it"),
        ("split.held_out=null", "split.held_out must be a share"),
        ("objective=factor_vae optimizer=adagrad", "type optimizer=adam"),
        ("--foo", "--foo is not a flag"),
        ("--cfg", "--cfg must be job or hydra or all, got"),
        ("-m beta=1,[", "beta=1,[ cannot be read"),
    ],
)
def test_what_is_refused_is_named_and_leaves_no_folder(answer, tmp_path, typed, said):
    status, told = answer(*typed.split(" "))
    assert (status, told.count("\n"), told.startswith("disvae: ")) == (2, 1, True), told
    assert said in told
    assert not list(tmp_path.rglob("status.json"))
    assert not list(tmp_path.glob("outputs"))
